//! Rows about volumes, claims, classes and what CSI drivers say of themselves.
use super::*;

fn with(source: Value) -> Value {
    json!({"spec": {"volumes": [laid(json!({"name": "v"}), &source)], "containers": [{"name": "c", "image": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}})
}

fn pods() -> Of {
    Of::new("", "Pod", true, json!({"spec": {"serviceAccountName": "sa", "containers": [{"name": "c", "image": "a"}]}}))
}

#[test]
fn of_pods() {
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    pods().takes(&[
        with(json!({})),
        with(json!({"hostPath": {"path": "/a", "type": "Directory"}})),
        with(json!({"configMap": {"name": "m", "items": [{"key": "k", "path": "a/b"}]}})),
        with(json!({"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.labels"}}, {"path": "b", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}]}})),
        with(json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}, {"configMap": {"name": "m", "items": [{"key": "k", "path": "p"}]}}]}})),
        with(json!({"ephemeral": {"volumeClaimTemplate": {"spec": claim}}})),
        with(json!({"csi": {"driver": "a.b"}})),
        with(json!({"image": {"reference": "r"}})),
        with(json!({"nfs": {"server": "s", "path": "/p"}})),
        with(json!({"iscsi": {"targetPortal": "1.1.1.1", "iqn": "iqn.2024-01.com.example:x", "lun": 0}})),
    ]);
    pods().refuses(&[
        (with(json!({"emptyDir": {}, "hostPath": {"path": "/"}})), "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"),
        (with(json!({"emptyDir": {"sizeLimit": "-1"}})), "spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"),
        (with(json!({"hostPath": {"path": "/a/../b"}})), "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"),
        (with(json!({"hostPath": {"path": "/a", "type": "x"}})), "spec.volumes[0].hostPath.type: Unsupported value: \"x\""),
        (with(json!({"configMap": {"name": "m", "items": [{"key": "k", "path": "..a"}]}})), "spec.volumes[0].configMap.items[0].path: Invalid value: \"..a\": must not start with '..'"),
        (with(json!({"secret": {"secretName": "s", "defaultMode": 512}})), "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"),
        (with(json!({"downwardAPI": {"items": [{"path": "a"}]}})), "spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"),
        (with(json!({"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "spec.nodeName"}}]}})), "spec.volumes[0].downwardAPI.fieldRef.fieldPath: Unsupported value: \"spec.nodeName\": supported values: \"metadata.annotations\""),
        (with(json!({"downwardAPI": {"items": [{"path": "a", "resourceFieldRef": {"resource": "limits.cpu"}}]}})), "spec.volumes[0].downwardAPI.resourceFieldRef.containerName: Required value"),
        (with(json!({"projected": {"sources": [{"configMap": {"name": "m", "items": [{"key": "k", "path": "p"}]}}, {"secret": {"name": "s", "items": [{"key": "k", "path": "p"}]}}]}})), "spec.volumes[0].projected: Invalid value: \"s\": conflicting duplicate paths"),
        (with(json!({"projected": {"sources": [{"configMap": {"name": "m"}, "secret": {"name": "s"}}]}})), "spec.volumes[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type per source"),
        (with(json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 5}}]}})), "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes"),
        (laid(with(json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}})), &json!({"spec": {"serviceAccountName": ""}})), "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set"),
        (with(json!({"ephemeral": {}})), "spec.volumes[0].ephemeral.volumeClaimTemplate: Required value"),
        (with(json!({"ephemeral": {"volumeClaimTemplate": {"metadata": {"name": "n"}, "spec": claim}}})), "spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set"),
        (with(json!({"csi": {"driver": "-"}})), "spec.volumes[0].csi.driver: Invalid value: \"-\""),
        (with(json!({"image": {}})), "spec.volumes[0].image.reference: Required value"),
        (with(json!({"nfs": {"server": "s", "path": "p"}})), "spec.volumes[0].nfs.path: Invalid value: \"p\": must be an absolute path"),
        (with(json!({"gcePersistentDisk": {}})), "spec.volumes[0].persistentDisk.pdName: Required value"),
        (with(json!({"iscsi": {"targetPortal": "1.1.1.1", "iqn": "x"}})), "spec.volumes[0].iscsi.iqn: Invalid value: \"x\": must be valid format starting with iqn, eui, or naa"),
        (with(json!({"fc": {}})), "spec.volumes[0].fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both"),
        (with(json!({"azureDisk": {"diskName": "d", "diskURI": "x"}})), "spec.volumes[0].azureDisk.diskURI: Unsupported value: \"x\""),
    ]);
}

#[test]
fn mounts_and_devices() {
    let mount = |m: Value| json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"name": "c", "image": "a", "volumeMounts": [laid(json!({"name": "v", "mountPath": "/v"}), &m)]}]}});
    let device = |d: Value| json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}, {"name": "p", "persistentVolumeClaim": {"claimName": "p"}}], "containers": [{"name": "c", "image": "a", "volumeDevices": [laid(json!({"name": "p", "devicePath": "/d"}), &d)]}]}});
    pods().takes(&[mount(json!({"subPath": "a/b"})), device(json!({})), mount(json!({"readOnly": true, "recursiveReadOnly": "Enabled"}))]);
    pods().refuses(&[
        (mount(json!({"subPath": "/a"})), "spec.containers[0].volumeMounts.subPath: Invalid value: \"/a\": must be a relative path"),
        (mount(json!({"subPath": "a", "subPathExpr": "b"})), "spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: \"b\": subPathExpr and subPath are mutually exclusive"),
        (mount(json!({"mountPropagation": "Bidirectional"})), "spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers"),
        (mount(json!({"recursiveReadOnly": "Enabled"})), "spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true"),
        (device(json!({"name": "v"})), "spec.containers[0].volumeDevices[0].name: Invalid value: \"v\": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"),
        (device(json!({"name": "z"})), "spec.containers[0].volumeDevices[0].name: Not found: \"z\""),
        (device(json!({"devicePath": "/a/../b"})), "spec.containers[0].volumeDevices[0].devicePath: Invalid value: \"/a/../b\": can not contain backsteps ('..')"),
    ]);
}

fn persistent() -> Of {
    Of::new(
        "",
        "PersistentVolume",
        false,
        json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "csi": {"driver": "a.b", "volumeHandle": "h"}}}),
    )
}

#[test]
fn of_clusters() {
    let spec = |s: Value| json!({"spec": s});
    persistent().takes(&[
        spec(json!({"csi": null, "local": {"path": "/a"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [{}]}}})),
        spec(json!({"volumeAttributesClassName": "gold"})),
    ]);
    persistent().refuses(&[
        (spec(json!({"accessModes": []})), "spec.accessModes: Required value"),
        (
            spec(json!({"accessModes": ["ReadWriteOnce", "ReadWriteOncePod"]})),
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
        ),
        (spec(json!({"capacity": {"storage": "0"}})), "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero"),
        (spec(json!({"capacity": null})), "spec.capacity: Required value"),
        (spec(json!({"csi": null})), "spec: Required value: must specify a volume type"),
        (spec(json!({"csi": {"volumeHandle": null}})), "spec.csi.volumeHandle: Required value"),
        (spec(json!({"csi": {"nodePublishSecretRef": {"name": "s"}}})), "spec.csi.nodePublishSecretRef.namespace: Required value"),
        (spec(json!({"nfs": {"server": "s", "path": "/p"}})), "spec.nfs: Forbidden: may not specify more than 1 volume type"),
        (spec(json!({"csi": null, "local": {"path": "/a"}})), "spec.nodeAffinity: Required value: Local volume requires node affinity"),
        (
            spec(json!({"csi": null, "hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"})),
            "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
        ),
        (spec(json!({"nodeAffinity": {}})), "spec.nodeAffinity.required: Required value: must specify required node constraints"),
    ]);
    let on = |label: &str, value: &str| {
        let term = json!({"matchExpressions": [{"key": label, "operator": "In", "values": [value]}]});
        spec(json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}))
    };
    persistent().changes(
        None,
        &[
            (json!({}), spec(json!({"csi": {"controllerExpandSecretRef": {"name": "s", "namespace": "n"}}})), ""),
            (
                json!({}),
                spec(json!({"csi": {"volumeHandle": "i"}})),
                "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation",
            ),
            (json!({}), spec(json!({"volumeMode": "Block"})), "volumeMode: Invalid value: \"Block\": field is immutable"),
            (json!({}), spec(json!({"claimRef": {"name": "c", "namespace": "n"}})), ""),
            (json!({}), on("kubernetes.io/arch", "a"), ""),
            (on("beta.kubernetes.io/arch", "a"), on("kubernetes.io/arch", "a"), ""),
            (on("kubernetes.io/arch", "a"), on("kubernetes.io/arch", "b"), "nodeAffinity: Invalid value: "),
            (on("kubernetes.io/arch", "a"), on("beta.kubernetes.io/arch", "a"), "nodeAffinity: Invalid value: "),
        ],
    );
}

#[test]
fn claims() {
    let claims = Of::new(
        "",
        "PersistentVolumeClaim",
        true,
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}}),
    );
    let spec = |s: Value| json!({"spec": s});
    claims.takes(&[spec(json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}})), spec(json!({"storageClassName": ""}))]);
    claims.refuses(&[
        (spec(json!({"accessModes": []})), "spec.accessModes: Required value: at least 1 access mode is required"),
        (spec(json!({"resources": null})), "spec.resources[storage]: Required value"),
        (spec(json!({"resources": {"requests": {"storage": "0"}}})), "spec.resources[storage]: Invalid value: \"0\": must be greater than zero"),
        (spec(json!({"dataSource": {"kind": "Pod", "name": "a"}})), "spec.dataSource: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when referencing the default apiGroup"),
        (spec(json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}, "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "b"}})), "spec: Invalid value: \"spec.dataSource\": must match dataSourceRef"),
        (spec(json!({"volumeMode": "x"})), "spec.volumeMode: Unsupported value: \"x\""),
    ]);
    let fixed =
        "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
    claims.changes(
        None,
        &[
            (json!({}), spec(json!({"volumeName": "pv"})), ""),
            (json!({}), spec(json!({"storageClassName": "gold"})), ""),
            (spec(json!({"storageClassName": "gold"})), spec(json!({"storageClassName": "tin"})), fixed),
            (json!({}), spec(json!({"resources": {"requests": {"storage": "3Gi"}}})), fixed),
            (spec(json!({"volumeName": "pv"})), spec(json!({"volumeName": "other"})), fixed),
            (
                json!({}),
                json!({"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "x"}}}),
                "metadata.annotations.volume.beta.kubernetes.io/storage-class: Invalid value: \"x\": field is immutable",
            ),
        ],
    );
    let mut old = claims.made(&json!({}));
    old["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
    for (size, expected) in [("3Gi", 0), ("1500Mi", 0), ("1Gi", 1)] {
        let new = laid(old.clone(), &spec(json!({"resources": {"requests": {"storage": size}}})));
        assert_eq!(validate_update("", "PersistentVolumeClaim", &new, &old, None).len(), expected, "{size}");
    }
    claims.changes(
        Some("status"),
        &[
            (
                json!({}),
                json!({"status": {"capacity": {"storage": "-1"}}}),
                "status.capacity[storage]: Invalid value: -1: must be a valid resource quantity",
            ),
            (
                json!({}),
                json!({"status": {"allocatedResourceStatuses": {"storage": "x"}}}),
                "status.allocatedResourceStatus: Unsupported value: \"storage\"",
            ),
        ],
    );
}

#[test]
fn classes_and_drivers() {
    let classes = Of::new("storage.k8s.io", "StorageClass", false, json!({"provisioner": "a.b/c"}));
    classes.takes(&[json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["a", "b"]}]}]})]);
    classes.refuses(&[
        (json!({"provisioner": "a b"}), "provisioner: Invalid value: \"a b\""),
        (json!({"parameters": {"": "x"}}), "parameters: Invalid value: \"\": field can not be empty."),
        (json!({"reclaimPolicy": "Recycle"}), "reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\""),
        (
            json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": "z", "values": ["a", "a"]}]}]}),
            "allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"a\"",
        ),
    ]);
    classes.changes(
        None,
        &[
            (json!({}), json!({"parameters": {"a": "b"}}), "parameters: Forbidden: updates to parameters are forbidden."),
            (
                json!({}),
                json!({"volumeBindingMode": "WaitForFirstConsumer"}),
                "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable",
            ),
            (json!({}), json!({"allowVolumeExpansion": true}), ""),
        ],
    );
    let drivers = Of::new("storage.k8s.io", "CSIDriver", false, json!({"spec": {}}));
    drivers.takes(&[json!({"spec": {"tokenRequests": [{"audience": "a"}]}})]);
    drivers.refuses(&[
        (json!({"spec": {"volumeLifecycleModes": ["x"]}}), "spec.volumeLifecycleModes[0]: Unsupported value: \"x\""),
        (
            json!({"spec": {"tokenRequests": [{"audience": "a"}, {"audience": "a"}]}}),
            "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
        ),
    ]);
    drivers.changes(
        None,
        &[(json!({}), json!({"spec": {"attachRequired": false}}), "spec.attachedRequired: Invalid value: false: field is immutable")],
    );
    let nodes = Of::new("storage.k8s.io", "CSINode", false, json!({"spec": {"drivers": [{"name": "a.b", "nodeID": "n"}]}}));
    nodes.refuses(&[(
        json!({"spec": {"drivers": [{"name": "a", "nodeID": "n"}, {"name": "a", "nodeID": "n"}]}}),
        "spec.drivers[1].name: Duplicate value: \"a\"",
    )]);
    nodes.changes(None, &[(json!({}), json!({"spec": {"drivers": [{"name": "a.b", "nodeID": "m"}]}}), "CSINodeDriver: Invalid value")]);
    let attachments = Of::new(
        "storage.k8s.io",
        "VolumeAttachment",
        false,
        json!({"spec": {"attacher": "a.b", "nodeName": "n", "source": {"persistentVolumeName": "p"}}}),
    );
    attachments.takes(&[json!({})]);
    attachments.refuses(&[(
        json!({"spec": {"source": {"persistentVolumeName": null}}}),
        "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
    )]);
}
