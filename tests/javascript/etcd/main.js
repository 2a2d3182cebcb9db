// What people do with JavaScript's etcd3 client, against the members whose URLs are given.

import assert from "node:assert/strict";
import { once } from "node:events";
import { Etcd3, EtcdLeaseInvalidError, EtcdLockFailedError, EtcdPermissionDeniedError, GRPCInvalidArgumentError } from "etcd3";

const hosts = process.argv.slice(2);
const client = new Etcd3({ hosts });
const own = client.namespace("/js/");

// Keys, ranges, counts, the past.
const first = await own.put("a").value("1");
await own.put("b").value("2");
await own.put("c").value(JSON.stringify({ three: 3 }));
assert.equal(await own.get("a").string(), "1");
assert.equal(await own.get("none").string(), null);
assert.equal(await own.get("b").number(), 2);
assert.deepEqual(await own.get("c").json(), { three: 3 });
assert.deepEqual(await own.getAll().sort("Key", "Descend").limit(2).keys(), ["c", "b"]);
assert.equal(await own.getAll().count(), 3);
assert.deepEqual(await client.getAll().inRange({ start: "/js/a", end: "/js/c" }).strings(), { "/js/a": "1", "/js/b": "2" });
const previous = await own.put("a").value("one").getPrevious();
assert.equal(previous.value.toString(), "1");
assert.equal(await own.get("a").revision(first.header.revision).string(), "1");
await own.put("a").touch();
assert.equal((await own.get("a").exec()).kvs[0].version, "3");
await assert.rejects(client.put("").value("x").exec(), GRPCInvalidArgumentError);

// Transactions, by hand and as software transactional memory has them.
const done = await own
  .if("a", "Value", "==", "one")
  .and("none", "Version", "==", 0)
  .then(own.put("t").value("then"), own.get("b"))
  .else(own.put("t").value("else"))
  .commit();
assert.ok(done.succeeded);
assert.equal(done.responses[1].response_range.kvs[0].value.toString(), "2");
assert.equal(await own.get("t").string(), "then");
assert.ok(!(await own.if("a", "Version", ">", 99).then(own.delete().key("a")).commit()).succeeded);
await own.put("sum").value("0");
const add = () => own.stm({ retries: 50 }).transact(async (tx) => tx.put("sum").value((await tx.get("sum").number()) + 1));
await Promise.all(Array.from({ length: 8 }, add));
assert.equal(await own.get("sum").number(), 8);

// A watch, with what was there before, and from the past on.
const seen = [];
const watcher = await own.watch().prefix("w").withPreviousKV().create();
const gone = once(watcher, "delete");
watcher.on("put", (now, before) => seen.push([now.value.toString(), before?.value?.toString() ?? ""]));
for (const value of ["0", "1", "2"]) {
  await own.put("w").value(value);
}
assert.equal((await own.delete().key("w")).deleted, "1");
assert.equal((await gone)[1].value.toString(), "2");
assert.deepEqual(seen, [["0", ""], ["1", "0"], ["2", "1"]]);
await watcher.cancel();
const old = own.watch().key("a").startRevision(first.header.revision).only("put").watcher();
const [{ value: oldest }] = await once(old, "put");
assert.equal(oldest.toString(), "1");
await old.cancel();

// Leases, and what hangs on them.
const lease = own.lease(60, { autoKeepAlive: false });
await lease.put("leased").value("x");
assert.equal((await lease.keepaliveOnce()).TTL, "60");
const id = await lease.grant();
const left = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
assert.deepEqual([left.grantedTTL, left.keys.map(String)], ["60", ["/js/leased"]]);
await lease.revoke();
assert.equal(await own.get("leased").string(), null);
await assert.rejects(own.put("leased").value("x").lease(id).exec(), EtcdLeaseInvalidError);
// Watched from before it is there: it may not live for longer than a watch takes to be made.
const expired = await own.watch().key("short").create();
const ended = once(expired, "delete");
const short = own.lease(1, { autoKeepAlive: false });
await short.put("short").value("x");
await ended;
await expired.cancel();

// Locks and elections.
const lock = own.lock("l").ttl(60);
await lock.acquire();
await assert.rejects(own.lock("l").acquire(), EtcdLockFailedError);
await lock.release();
assert.equal(await own.lock("l").do(() => "mine"), "mine");
const election = own.election("e", 60);
const observer = await election.observe();
const campaign = election.campaign("first");
await once(campaign, "elected");
assert.equal(await election.leader(), "first");
const proclaimed = once(observer, "change");
if (observer.leader() === undefined) {
  await proclaimed;
}
const changed = once(observer, "change");
await campaign.proclaim("second");
assert.deepEqual(await changed, ["second"]);
await campaign.resign();
await observer.cancel();

// The group, and keeping house.
assert.equal((await client.cluster.memberList({})).members.length, hosts.length);
assert.match((await client.maintenance.status()).version, /^3\.6\./);
assert.equal((await client.maintenance.alarm({})).alarms.length, 0);
await client.kv.compact({ revision: first.header.revision });

// Users and their rights.
await client.role("js").create();
await client.role("js").grant({ permission: "Read", range: client.range({ prefix: "/js/" }) });
await client.role("root").create();
for (const [name, role] of [["root", "root"], ["alice", "js"]]) {
  await client.user(name).create("secret");
  await client.user(name).addRole(role);
}
await client.auth.authEnable();
const alice = new Etcd3({ hosts, auth: { username: "alice", password: "secret" } });
assert.equal(await alice.get("/js/a").string(), "one");
await assert.rejects(alice.put("/js/a").value("x").exec(), EtcdPermissionDeniedError);
alice.close();
const root = new Etcd3({ hosts, auth: { username: "root", password: "secret" } });
assert.ok(Number((await root.delete().prefix("/js/")).deleted) > 3);
await root.auth.authDisable();
root.close();
assert.equal(await own.getAll().count(), 0);
client.close();
console.log("all well");
