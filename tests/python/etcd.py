"""What people do with Python's etcd3 client, against a member on 127.0.0.1 at the port given."""

import sys
import threading

import etcd3

client = etcd3.client(host="127.0.0.1", port=int(sys.argv[1]))

# Keys, ranges, transactions.
client.put("/py/a", "1")
client.put("/py/b", "2")
value, meta = client.get("/py/a")
assert value == b"1" and meta.version == 1, (value, meta)
assert [value for value, _ in client.get_prefix("/py/", sort_order="descend")] == [b"2", b"1"]
assert client.replace("/py/a", "1", "one") and not client.replace("/py/a", "1", "uno")
assert client.put_if_not_exists("/py/c", "3") and not client.put_if_not_exists("/py/c", "4")
done, _ = client.transaction(
    compare=[client.transactions.value("/py/a") == "one", client.transactions.version("/py/none") == 0],
    success=[client.transactions.put("/py/t", "then"), client.transactions.get("/py/a")],
    failure=[client.transactions.put("/py/t", "else")],
)
assert done and client.get("/py/t")[0] == b"then"
assert client.delete("/py/c") and not client.delete("/py/c")

# A watch, with what was there before.
events, cancel = client.watch_prefix("/py/w", prev_kv=True)
threading.Thread(target=lambda: [client.put("/py/w", str(n)) for n in range(3)]).start()
seen = [next(events).value for _ in range(3)]
cancel()
assert seen == [b"0", b"1", b"2"], seen

# Leases and what hangs on them.
lease = client.lease(60)
client.put("/py/leased", "x", lease=lease)
lease.refresh()
assert lease.granted_ttl == 60 and lease.keys == [b"/py/leased"], (lease.granted_ttl, lease.keys)
lease.revoke()
assert client.get("/py/leased")[0] is None

# The group, and keeping house.
assert len(list(client.members)) == 3
status = client.status()
assert status.version.startswith("3.6.") and status.db_size > 0 and status.leader is not None
assert not list(client.list_alarms())
client.compact(client.get("/py/a")[1].mod_revision)
client.defragment()
with open("/dev/null", "wb") as out:
    client.snapshot(out)
assert client.delete_prefix("/py/").deleted > 3
print("all well")
