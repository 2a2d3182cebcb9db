//! Which fields are pointers in Go. Neither the messages nor OpenAPI say it, and with a pointer zero is a value, without one it is nothing.
//! The types are in upstream's `staging/src/k8s.io/api/*/types.go`. Only fields that OpenAPI does not require are here, since those that
//! it does have no `omitempty`.
//!
//! Beside them is what the crate does not have yet.

use super::source::{Field, Messages, Shape, Type};

/// Fields that came after the release whose messages the crate has: message, tag, name, how often, type. Their tags are in upstream's
/// `types.go`, and in the proposals that brought them.
const LATER: &[(&str, u32, &str, Shape, &str)] = &[
    ("api.core.v1.NodeAllocatableResourceClaimStatus", 1, "resource_claim_name", Shape::One, "string"),
    ("api.core.v1.NodeAllocatableResourceClaimStatus", 2, "containers", Shape::List, "string"),
    ("api.core.v1.NodeAllocatableResourceClaimStatus", 3, "resources", Shape::Map, "apimachinery.pkg.api.resource.Quantity"),
    (
        "api.core.v1.PodStatus",
        25,
        "node_allocatable_resource_claim_statuses",
        Shape::List,
        "api.core.v1.NodeAllocatableResourceClaimStatus",
    ),
    ("api.storage.v1.CSIDriverSpec", 11, "prevent_pod_scheduling_if_missing", Shape::One, "bool"),
];

/// Adds the fields that the crate does not have.
pub fn add_later(messages: &mut Messages) {
    for (message, tag, name, shape, of) in LATER {
        let of = if of.contains('.') { Type::Message((*of).to_owned()) } else { Type::Scalar((*of).to_owned()) };
        let fields = messages.entry((*message).to_owned()).or_default();
        if fields.iter().all(|field| field.tag != *tag) {
            fields.push(Field { tag: *tag, name: (*name).to_owned(), shape: *shape, of });
        }
    }
}

/// Numbers and booleans that are not behind a pointer: `Type.field`, several fields of one type by commas.
pub const PLAIN: &[&str] = &[
    "APIServiceSpec.insecureSkipTLSVerify",
    "AWSElasticBlockStoreVolumeSource.partition,readOnly",
    "AzureFilePersistentVolumeSource.readOnly",
    "AzureFileVolumeSource.readOnly",
    "CSIPersistentVolumeSource.readOnly",
    "CephFSPersistentVolumeSource.readOnly",
    "CephFSVolumeSource.readOnly",
    "CinderPersistentVolumeSource.readOnly",
    "CinderVolumeSource.readOnly",
    "Condition.observedGeneration",
    "Container.stdin,stdinOnce,tty",
    "ContainerImage.sizeBytes",
    "ContainerPort.hostPort",
    "ContainerStateTerminated.signal",
    "CustomResourceColumnDefinition.priority",
    "CustomResourceDefinitionCondition.observedGeneration",
    "CustomResourceDefinitionSpec.preserveUnknownFields",
    "CustomResourceDefinitionStatus.observedGeneration",
    "CustomResourceDefinitionVersion.deprecated",
    "DaemonSetSpec.minReadySeconds",
    "DaemonSetStatus.numberAvailable,numberUnavailable,observedGeneration,updatedNumberScheduled",
    "DeploymentSpec.minReadySeconds,paused",
    "DeploymentStatus.availableReplicas,observedGeneration,readyReplicas,replicas,unavailableReplicas,updatedReplicas",
    "DeviceSubRequest.count",
    "EphemeralContainerCommon.stdin,stdinOnce,tty",
    "Event.count,deprecatedCount",
    "EventSeries.count",
    "ExactDeviceRequest.count",
    "FCVolumeSource.readOnly",
    "FlexPersistentVolumeSource.readOnly",
    "FlexVolumeSource.readOnly",
    // No omitempty, but upstream's defaults take 0 for nothing.
    "FlowSchemaSpec.matchingPrecedence",
    "GCEPersistentDiskVolumeSource.partition,readOnly",
    "GlusterfsPersistentVolumeSource.readOnly",
    "GlusterfsVolumeSource.readOnly",
    "HorizontalPodAutoscalerStatus.currentReplicas",
    "ISCSIPersistentVolumeSource.chapAuthDiscovery,chapAuthSession,readOnly",
    "ISCSIVolumeSource.chapAuthDiscovery,chapAuthSession,readOnly",
    "JSONSchemaProps.exclusiveMaximum,exclusiveMinimum,nullable,uniqueItems,x-kubernetes-embedded-resource,x-kubernetes-int-or-string",
    "JobStatus.active,failed,succeeded",
    "NFSVolumeSource.readOnly",
    "NodeSpec.unschedulable",
    "ObjectMeta.generation",
    "PersistentVolumeClaimVolumeSource.readOnly",
    "PodCondition.observedGeneration",
    "PodDisruptionBudgetStatus.observedGeneration",
    "PodSpec.hostIPC,hostNetwork,hostPID",
    "PodStatus.observedGeneration",
    "PortworxVolumeSource.readOnly",
    "PriorityClass.globalDefault",
    "Probe.failureThreshold,initialDelaySeconds,periodSeconds,successThreshold,timeoutSeconds",
    // As with matchingPrecedence.
    "QueuingConfiguration.handSize,queueLengthLimit,queues",
    "QuobyteVolumeSource.readOnly",
    "RBDPersistentVolumeSource.readOnly",
    "RBDVolumeSource.readOnly",
    "ReplicaSetSpec.minReadySeconds",
    "ReplicaSetStatus.availableReplicas,fullyLabeledReplicas,observedGeneration,readyReplicas",
    "ReplicationControllerSpec.minReadySeconds",
    "ReplicationControllerStatus.availableReplicas,fullyLabeledReplicas,observedGeneration,readyReplicas",
    "ResourcePolicyRule.clusterScope",
    "ScaleIOPersistentVolumeSource.readOnly,sslEnabled",
    "ScaleIOVolumeSource.readOnly,sslEnabled",
    "ServiceBackendPort.number",
    "ServicePort.nodePort",
    "ServiceSpec.healthCheckNodePort,publishNotReadyAddresses",
    "StatefulSetOrdinals.start",
    "StatefulSetSpec.minReadySeconds",
    "StatefulSetStatus.availableReplicas,currentReplicas,observedGeneration,readyReplicas,updatedReplicas",
    "StorageOSPersistentVolumeSource.readOnly",
    "StorageOSVolumeSource.readOnly",
    "SubjectAccessReviewStatus.denied",
    "TokenReviewStatus.authenticated",
    "ValidatingAdmissionPolicyStatus.observedGeneration",
    "VolumeMount.readOnly",
    "VolumeMountStatus.readOnly",
];

/// Texts that are behind a pointer, written the same way. With some of them, such as `storageClassName`, empty means something.
pub const POINTERS: &[&str] = &[
    "AppArmorProfile.localhostProfile",
    "AzureDiskVolumeSource.cachingMode,fsType,kind",
    "AzureFilePersistentVolumeSource.secretNamespace",
    "CSIVolumeSource.fsType",
    "ClusterTrustBundleProjection.name,signerName",
    "CronJobSpec.timeZone",
    "CustomResourceDefinitionVersion.deprecationWarning",
    "DeleteOptions.propagationPolicy",
    "DeviceAttribute.string,version",
    "Endpoint.hostname,nodeName,zone",
    "EndpointAddress.nodeName",
    // Of discovery; the core group's name is not, and an empty one there is no name either.
    "EndpointPort.appProtocol",
    "GRPCAction.service",
    "ISCSIPersistentVolumeSource.initiatorName",
    "ISCSIVolumeSource.initiatorName",
    "IngressClassParametersReference.apiGroup,namespace,scope",
    "IngressSpec.ingressClassName",
    "JobSpec.managedBy",
    "LeaseSpec.holderIdentity,preferredHolder,strategy",
    "PersistentVolumeClaimSpec.storageClassName,volumeAttributesClassName",
    "PersistentVolumeClaimStatus.currentVolumeAttributesClassName",
    "PersistentVolumeSpec.volumeAttributesClassName",
    "PodDNSConfigOption.value",
    "PodFailurePolicyOnExitCodesRequirement.containerName",
    "PodResourceClaim.resourceClaimName,resourceClaimTemplateName",
    "PodResourceClaimStatus.resourceClaimName",
    "PodSpec.hostnameOverride,runtimeClassName",
    "Preconditions.resourceVersion,uid",
    "ResourceSliceSpec.nodeName",
    "SeccompProfile.localhostProfile",
    "ServicePort.appProtocol",
    "ServiceReference.path",
    "ServiceSpec.loadBalancerClass,trafficDistribution",
    "TypedLocalObjectReference.apiGroup",
    "TypedObjectReference.apiGroup,namespace",
    "VolumeAttachmentSource.persistentVolumeName",
    "WebhookClientConfig.url",
    "WindowsSecurityContextOptions.gmsaCredentialSpec,gmsaCredentialSpecName,runAsUserName",
];
