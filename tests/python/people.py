"""What people do with the official Python client; run by tests/clients.rs with KUBECONFIG set."""

import sys
import time

from kubernetes import client, config, utils, watch
from kubernetes.stream import stream

config.load_kube_config()
core, apps = client.CoreV1Api(), client.AppsV1Api()
NAMESPACE, NAME = "default", "python"


def until(what, ask, deadline=60):
    """Asks again until the answer is true."""
    begun = time.monotonic()
    while not (found := ask()):
        if time.monotonic() - begun > deadline:
            sys.exit(f"{what}: not within {deadline} s")
        time.sleep(0.1)
    return found


labels = {"app": NAME}
manifest = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": NAME},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {
                        "name": "c",
                        "image": "tricorn.local/busybox:1",
                        "command": ["sh", "-c", "echo ready; sleep 3600"],
                        "env": [{"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": NAME, "key": "greeting"}}}],
                    }
                ],
            },
        },
    },
}
core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(metadata=client.V1ObjectMeta(name=NAME), data={"greeting": "hello"}))
utils.create_from_dict(client.ApiClient(), manifest)

# A watch tells of the rollout while it happens.
for event in watch.Watch().stream(apps.list_namespaced_deployment, NAMESPACE, field_selector=f"metadata.name={NAME}", timeout_seconds=60):
    if (event["object"].status.available_replicas or 0) == 1:
        break
else:
    sys.exit("the watch ended before the deployment was available")

apps.patch_namespaced_deployment_scale(NAME, NAMESPACE, {"spec": {"replicas": 2}})
assert apps.read_namespaced_deployment_scale(NAME, NAMESPACE).spec.replicas == 2
until("two replicas are ready", lambda: apps.read_namespaced_deployment(NAME, NAMESPACE).status.ready_replicas == 2)

pods = core.list_namespaced_pod(NAMESPACE, label_selector=f"app={NAME}").items
assert len(pods) == 2, pods
pod = pods[0].metadata.name
# A container runs before it has said anything.
until("the pod writes its log", lambda: core.read_namespaced_pod_log(pod, NAMESPACE).strip() == "ready")
said = stream(core.connect_get_namespaced_pod_exec, pod, NAMESPACE, command=["sh", "-c", "echo $GREETING"], stdout=True, stderr=True)
assert said.strip() == "hello", said

# Pages, selectors, and a conflict that is said to be one.
page = core.list_namespaced_config_map(NAMESPACE, limit=1)
assert len(page.items) == 1 and page.metadata._continue
rest = core.list_namespaced_config_map(NAMESPACE, _continue=page.metadata._continue)
assert len(rest.items) >= 1
stale = core.read_namespaced_config_map(NAME, NAMESPACE)
core.patch_namespaced_config_map(NAME, NAMESPACE, {"data": {"greeting": "again"}})
stale.data = {"greeting": "lost"}
try:
    core.replace_namespaced_config_map(NAME, NAMESPACE, stale)
    sys.exit("a stale update was taken")
except client.ApiException as error:
    assert error.status == 409, error
try:
    core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "Not A Name"}})
    sys.exit("a bad name was taken")
except client.ApiException as error:
    assert error.status == 422 and "metadata.name" in error.body, error

apps.delete_namespaced_deployment(NAME, NAMESPACE, propagation_policy="Foreground")
until("the deployment and its pods are gone", lambda: not core.list_namespaced_pod(NAMESPACE, label_selector=f"app={NAME}").items)
core.delete_namespaced_config_map(NAME, NAMESPACE)
print("all well")
