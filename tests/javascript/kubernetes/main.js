// What people do with the official JavaScript client; run by tests/clients.rs with KUBECONFIG set.

import assert from "node:assert/strict";
import { Writable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import * as k8s from "@kubernetes/client-node";

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const namespace = "default";
const name = "javascript";

/** Asks again until the answer is true. */
async function until(what, ask, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await ask();
    if (found) {
      return found;
    }
    assert.ok(Date.now() < end, `${what}: not within ${seconds} s`);
    await pause(100);
  }
}

/** What a refusal says. */
async function refusal(asked) {
  try {
    await asked;
  } catch (error) {
    const status = typeof error.body === "string" ? JSON.parse(error.body) : error.body;
    return { code: error.code, reason: status.reason, message: status.message };
  }
  assert.fail("what is wrong was taken");
}

/** A stream that keeps what it is given. */
function kept() {
  const chunks = [];
  const stream = new Writable({ write: (chunk, _, next) => (chunks.push(chunk), next()) });
  stream.text = () => Buffer.concat(chunks).toString();
  return stream;
}

// An informer tells of what comes, changes and goes.
const labels = { app: name };
const selector = `app=${name}`;
const told = [];
const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: selector });
const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list, selector);
informer.on("error", (error) => {
  // Its end is told as an error too.
  if (error.name !== "AbortError") {
    throw error;
  }
});
for (const verb of ["add", "update", "delete"]) {
  informer.on(verb, (object) => told.push([verb, object.metadata.name, object.data.greeting]));
}
await informer.start();

const body = { metadata: { name, labels }, data: { greeting: "hello" } };
const made = await core.createNamespacedConfigMap({ namespace, body });
assert.ok(made.metadata.uid && made.metadata.creationTimestamp instanceof Date);
const read = await core.readNamespacedConfigMap({ name, namespace });
assert.deepEqual([read.data, read.metadata.resourceVersion], [{ greeting: "hello" }, made.metadata.resourceVersion]);
assert.deepEqual((await list()).items.map((item) => item.metadata.name), [name]);

// Patches of each kind, and the update of something that has changed since it was read.
const patch = (kind, change) =>
  core.patchNamespacedConfigMap({ name, namespace, body: change }, k8s.setHeaderOptions("Content-Type", kind));
await patch(k8s.PatchStrategy.MergePatch, { data: { greeting: "again" } });
await patch(k8s.PatchStrategy.JsonPatch, [{ op: "add", path: "/data/more", value: "x" }]);
const patched = await patch(k8s.PatchStrategy.StrategicMergePatch, { data: { more: null, last: "y" } });
assert.deepEqual(patched.data, { greeting: "again", last: "y" });
read.data.greeting = "lost";
const stale = await refusal(core.replaceNamespacedConfigMap({ name, namespace, body: read }));
assert.deepEqual([stale.code, stale.reason], [409, "Conflict"]);
patched.data.greeting = "replaced";
assert.equal((await core.replaceNamespacedConfigMap({ name, namespace, body: patched })).data.greeting, "replaced");

// Other errors.
const twice = await refusal(core.createNamespacedConfigMap({ namespace, body }));
assert.deepEqual([twice.code, twice.reason], [409, "AlreadyExists"]);
const none = await refusal(core.readNamespacedConfigMap({ name: "none", namespace }));
assert.deepEqual([none.code, none.message], [404, 'configmaps "none" not found']);
const bad = await refusal(core.createNamespacedConfigMap({ namespace, body: { metadata: { name: "Not A Name" } } }));
assert.deepEqual([bad.code, bad.reason], [422, "Invalid"]);
assert.match(bad.message, /metadata\.name/);

// Pages.
const page = await core.listNamespacedConfigMap({ namespace, limit: 1 });
assert.equal(page.items.length, 1);
const rest = await core.listNamespacedConfigMap({ namespace, _continue: page.metadata._continue });
assert.ok(rest.items.length >= 1 && rest.items[0].metadata.name !== page.items[0].metadata.name);

// Server-side apply of a manifest, through the client that knows no kinds.
const [manifest] = k8s.loadAllYaml(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}, namespace: ${namespace}}
spec:
  replicas: 1
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        image: tricorn.local/busybox:1
        command: [sh, -c, echo ready; sleep 3600]
`);
const apply = (object, manager) =>
  objects.patch(object, undefined, undefined, manager, false, k8s.PatchStrategy.ServerSideApply);
await apply(manifest, "one");
const other = { ...manifest, spec: { ...manifest.spec, replicas: 2 } };
const contested = await refusal(apply(other, "two"));
assert.equal(contested.code, 409);
assert.match(contested.message, /conflict with "one": \.spec\.replicas/);

// A watch tells of the rollout while it happens.
await new Promise((resolve, reject) => {
  const late = setTimeout(() => reject(new Error("the deployment was not available in time")), 60_000);
  const watch = new k8s.Watch(config).watch(
    `/apis/apps/v1/namespaces/${namespace}/deployments`,
    { fieldSelector: `metadata.name=${name}` },
    (phase, object) => {
      if (object.status?.availableReplicas === 1) {
        clearTimeout(late);
        watch.then((request) => request.abort());
        resolve();
      }
    },
    (error) => error && error.name !== "AbortError" && reject(error),
  );
  watch.catch(reject);
});
await apps.patchNamespacedDeploymentScale(
  { name, namespace, body: { spec: { replicas: 2 } } },
  k8s.setHeaderOptions("Content-Type", k8s.PatchStrategy.MergePatch),
);
assert.equal((await apps.readNamespacedDeploymentScale({ name, namespace })).spec.replicas, 2);
await until("two replicas are ready", async () => (await apps.readNamespacedDeployment({ name, namespace })).status.readyReplicas === 2);

// A pod's log, and a command in it that is given something to read.
const pods = (await core.listNamespacedPod({ namespace, labelSelector: selector })).items;
assert.equal(pods.length, 2);
const pod = pods[0].metadata.name;
// A container runs before it has said anything.
await until("the pod writes its log", async () => (await core.readNamespacedPodLog({ name: pod, namespace }))?.trim() === "ready");
const followed = kept();
const following = await new k8s.Log(config).log(namespace, pod, "c", followed, { follow: true });
await until("the log is followed", () => followed.text().trim() === "ready");
following.abort();
const out = kept();
const err = kept();
const status = await new Promise((resolve, reject) => {
  const command = ["sh", "-c", "echo out; echo err >&2; exit 3"];
  new k8s.Exec(config).exec(namespace, pod, "c", command, out, err, null, false, resolve).catch(reject);
});
assert.deepEqual([out.text(), err.text(), status.status], ["out\n", "err\n", "Failure"]);
assert.deepEqual(status.details.causes, [{ reason: "ExitCode", message: "3" }]);

// Everything goes.
await apps.deleteNamespacedDeployment({ name, namespace, propagationPolicy: "Foreground" });
await until("the pods are gone", async () => (await core.listNamespacedPod({ namespace, labelSelector: selector })).items.length === 0);
await core.deleteNamespacedConfigMap({ name, namespace });
await until("the informer has seen the end", () => told.some(([verb]) => verb === "delete"));
assert.deepEqual(told[0], ["add", name, "hello"]);
assert.deepEqual(told.at(-1), ["delete", name, "replaced"]);
assert.equal(told.filter(([verb]) => verb === "update").length, 4);
await informer.stop();
console.log("all well");
