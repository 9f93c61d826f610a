"""The official client against sandbox nodes: `client.py PORT NODES`. Fails at the first thing that is not so."""

import sys
import time

import aerospike
from aerospike import exception
from aerospike_helpers import expressions as exp
from aerospike_helpers.batch import records as batch
from aerospike_helpers.operations import operations as op

PORT, NODES = int(sys.argv[1]), int(sys.argv[2])
NAMESPACE, SET = "test", "demo"


def same(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def key(user_key):
    return (NAMESPACE, SET, user_key)


def one_record(client):
    bins = {"i": 1, "s": "x", "l": [1, 2, {"k": "v"}], "f": 1.5, "b": b"\0\1", "t": True}
    client.put(key("k"), bins, meta={"ttl": 1000}, policy={"key": aerospike.POLICY_KEY_SEND})
    _, meta, found = client.get(key("k"))
    same((found, meta["gen"]), (bins, 1))
    assert 998 <= meta["ttl"] <= 1000, meta
    same(client.select(key("k"), ["i", "s"])[2], {"i": 1, "s": "x"})
    same(client.exists(key("k"))[1]["gen"], 1)
    same(client.exists(key("none"))[1], None)
    client.touch(key("k"), 2000)
    same(client.operate(key("k"), [op.write("s", "y"), op.increment("i", 2), op.read("s"), op.read("i")])[2],
         {"s": "y", "i": 3})
    same(client.operate(key("k"), [op.append("s", "z"), op.prepend("s", "a"), op.read("s")])[2], {"s": "ayz"})
    same(client.get(key("k"), {"expressions": exp.GT(exp.IntBin("i"), 2).compile()})[2]["i"], 3)
    for wrong, raised in [
        (lambda: client.get(key("k"), {"expressions": exp.GT(exp.IntBin("i"), 3).compile()}), exception.FilteredOut),
        (lambda: client.put(key("k"), {"i": 1}, policy={"exists": aerospike.POLICY_EXISTS_CREATE}),
         exception.RecordExistsError),
        (lambda: client.put(key("k"), {"i": 1}, meta={"gen": 9}, policy={"gen": aerospike.POLICY_GEN_EQ}),
         exception.RecordGenerationError),
        (lambda: client.operate(key("k"), [op.increment("s", 1)]), exception.BinIncompatibleType),
        (lambda: client.get(key("none")), exception.RecordNotFound),
    ]:
        try:
            wrong()
        except raised:
            continue
        raise AssertionError(f"no {raised.__name__}")
    client.remove(key("k"))
    same(client.exists(key("k"))[1], None)


def many_records(client):
    for number in range(300):
        client.put(key(number), {"n": number})
    read = client.batch_read([key(number) for number in range(300)]).batch_records
    same([one.record[2]["n"] for one in read], list(range(300)))
    rows = [batch.Write(key(1000 + n), [op.write("n", n)]) for n in range(10)]
    rows += [batch.Remove(key(0)), batch.Read(key(1), [op.read("n")])]
    same([one.result for one in client.batch_write(batch.BatchRecords(rows)).batch_records], [0] * 12)
    same([one.result for one in client.batch_operate([key(1), key(2)], [op.write("m", 1)]).batch_records], [0, 0])
    same([one.result for one in client.batch_remove([key(1000 + n) for n in range(10)]).batch_records], [0] * 10)
    same(sorted(bins["n"] for _, _, bins in client.scan(NAMESPACE, SET).results()), list(range(1, 300)))
    seen = []
    client.scan(NAMESPACE, SET).foreach(lambda record: seen.append(record[2]["n"]))
    same(sorted(seen), list(range(1, 300)))
    query = client.query(NAMESPACE, SET)
    same(len(query.results({"expressions": exp.LT(exp.IntBin("n"), 50).compile()})), 49)
    query = client.query(NAMESPACE, SET)
    query.max_records = 20
    same(len(query.results()), 20)


def the_cluster(client):
    same(len(client.get_nodes()), NODES)
    same([answer for _, answer in client.info_all("namespaces").values()], [NAMESPACE + "\n"] * NODES)
    client.index_single_value_create(NAMESPACE, SET, "n", aerospike.INDEX_NUMERIC, "by_n")
    assert "by_n" in client.info_random_node("sindex-list")
    client.index_remove(NAMESPACE, "by_n")
    same(client.udf_list(), [])
    client.truncate(NAMESPACE, SET, 0)
    deadline = time.monotonic() + 30
    while client.scan(NAMESPACE, SET).results():
        assert time.monotonic() < deadline, "records outlive a truncation"
        time.sleep(0.01)


client = aerospike.client({"hosts": [("127.0.0.1", PORT)]}).connect()
for part in [one_record, many_records, the_cluster]:
    part(client)
client.close()
print("all as expected")
