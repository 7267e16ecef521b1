"""Jobs, filters of jobs, and queries of every kind of resource, by every method that the client has for them."""

import re

from judge import NODE1, NODE2, NODE3, NODES, WEB, create

RESOURCES = "cluster export extstorage filter group instance job lock network node os".split()
KIND_TYPES = {
    "text": (str,),
    "bool": (bool,),
    "number": (int,),
    "float": (int, float),
    "unit": (int,),
    "timestamp": (int, float),
    "other": (object,),
}
NORMAL, UNKNOWN, OFFLINE = 0, 1, 4


def jobs(judge):
    pause = judge.AddFilter(1, [["opcode", ["=", "OP_ID", "OP_CLUSTER_REDIST_CONF"]]], "PAUSE")
    waiting = judge.RedistributeConfig()
    other = judge.AddClusterTags(["beside"])
    judge.done(other)
    judge.same(judge.GetJobStatus(waiting)["status"], "queued")
    now = ["queued", ["CLUSTER_REDIST_CONF"]]
    change = judge.WaitForJobChange(waiting, ["status", "summary"], None, None)
    judge.same(change, {"job_info": now, "log_entries": []})
    judge.same(judge.CancelJob(waiting, dry_run=True)[0], True)
    judge.same(judge.GetJobStatus(waiting)["status"], "canceled")
    judge.same(judge.WaitForJobCompletion(waiting, period=0), False)
    judge.same(judge.WaitForJobChange(waiting, ["status"], ["queued"], -1)["job_info"], ["canceled"])
    judge.same(judge.CancelJob(waiting)[0], False)
    judge.DeleteFilter(pause)
    judge.done(judge.RedistributeConfig())
    ids = judge.GetJobs()
    judge.same([waiting in ids, other in ids], [True, True])
    [row] = [row for row in judge.GetJobs(bulk=True) if row["id"] == other]
    judge.has(row, status="success", opstatus=["success"], summary=["TAGS_SET"])
    judge.done(judge.DeleteClusterTags(["beside"]))
    judge.refused(404, lambda: judge.GetJobStatus(999999))


def filters(judge):
    predicate = ["opcode", ["=", "OP_ID", "OP_CLUSTER_REDIST_CONF"]]
    uuid = judge.AddFilter(5, [["jobid", [">", "id", 100000]]], "CONTINUE", reason_trail=[["user", "why", 1]])
    judge.same(judge.GetFilters(), [uuid])
    row = judge.GetFilter(uuid)
    judge.has(row, priority=5, action="CONTINUE", predicates=[["jobid", [">", "id", 100000]]], uuid=uuid)
    judge.same([source for source, *_ in row["reason_trail"]][:2], ["user", "gnt:client"])
    judge.same(judge.ReplaceFilter(uuid, 3, [predicate], "REJECT", reason_trail=[]), uuid)
    judge.has(judge.GetFilter(uuid), priority=3, action="REJECT", predicates=[predicate])
    made = judge.ReplaceFilter("6f3f1bde-5e8f-4d5c-8f0e-000000000001", 9, [], ["RATE_LIMIT", 4])
    actions = {row["uuid"]: row["action"] for row in judge.GetFilters(bulk=True)}
    judge.same(actions, {uuid: "REJECT", made: ["RATE_LIMIT", 4]})
    rejected = judge.RedistributeConfig()
    judge.same(judge.WaitForJobCompletion(rejected, period=0.05), False)
    judge.same(judge.GetJobStatus(rejected)["status"], "canceled")
    for each in (uuid, made):
        judge.same(judge.DeleteFilter(each), None)
    judge.same(judge.GetFilters(), [])
    judge.refused(404, lambda: judge.GetFilter(uuid))
    judge.done(judge.RedistributeConfig())


def check_rows(judge, what, rows, fields):
    for row in rows:
        judge.same(len(row), len(fields))
        for (status, value), field in zip(row, fields):
            right = value is None if status != NORMAL else isinstance(value, KIND_TYPES[field["kind"]])
            if status not in (0, 2, 3, 4) or not right:
                judge.find("%s %s (%s): %r" % (what, field["name"], field["kind"], [status, value]))


def queries(judge):
    """Every field of every kind of resource, of which there is one each."""
    judge.done(judge.CreateNetwork("lan", "203.0.113.0/28"))
    judge.done(create(judge, WEB, "plain", [{"size": 32}], pnode=NODE1, tags=["red"]))
    judge.done(create(judge, "down.gannet.test", "diskless", [], pnode=NODE2, start=False))
    judge.done(judge.ExportInstance(WEB, "local", NODE2))
    rule = judge.AddFilter(9, [["jobid", [">", "id", 100000]]], "CONTINUE")
    counts = {"cluster": 1, "export": 1, "filter": 1, "group": 1, "instance": 2, "network": 1, "node": 3}
    for what in RESOURCES:
        fields = judge.QueryFields(what, reason="which are there")["fields"]
        names = [field["name"] for field in fields]
        for field in fields:
            known = set(field) == {"name", "title", "kind", "doc"} and field["kind"] in KIND_TYPES
            if not known or not re.fullmatch(r"[a-z0-9/._]+", field["name"]):
                judge.find("%s: %r" % (what, field))
        judge.same(len(names), len(set(names)))
        answer = judge.Query(what, names, reason="everything")
        judge.same(answer["fields"], fields)
        check_rows(judge, what, answer["data"], fields)
        judge.same(len(answer["data"]), counts.get(what, len(answer["data"])))
        chosen = [names[-1], "nosuch", names[0]]
        found = judge.QueryFields(what, fields=chosen)["fields"]
        judge.same([field["name"] for field in found], chosen)
        judge.same([field["kind"] == "unknown" for field in found], [False, True, False])
    judge.same([cell for [cell] in judge.Query("node", ["nosuch"])["data"]], [[UNKNOWN, None]] * 3)

    judge.done(judge.SetNodeRole(NODE3, "offline", force=True))
    live = judge.Query("node", ["name", "mfree"], qfilter=["?", "offline"])
    judge.same(live["data"], [[[NORMAL, NODE3], [OFFLINE, None]]])
    judge.done(judge.SetNodeRole(NODE3, "master-candidate"))
    judge.DeleteFilter(rule)
    judge.done(judge.DeleteNetwork("lan"))


def query_filters(judge):
    """The filter language, by the instances that answer to it."""
    web, down = WEB, "down.gannet.test"
    for qfilter, expected in [
        (None, [down, web]),
        (["=", "name", web], [web]),
        (["==", "name", "web1"], [web]),
        (["!=", "name", web], [down]),
        (["<", "be/vcpus", 2], [down, web]),
        ([">", "disk.count", 0], [web]),
        (["<=", "disk.count", 0], [down]),
        ([">=", "disk.count", 1], [web]),
        (["=~", "name", "^web[0-9]"], [web]),
        (["=[]", "tags", "red"], [web]),
        (["?", "oper_state"], [web]),
        (["!", ["=", "name", web]], [down]),
        (["&", ["?", "oper_state"], ["=", "pnode", NODE2]], []),
        (["|", ["=", "pnode", NODE1], ["=", "pnode", NODE2]], [down, web]),
    ]:
        rows = judge.Query("instance", ["name"], qfilter=qfilter)["data"]
        if [name for [(_, name)] in rows] != expected:
            judge.find("%r gives %r" % (qfilter, rows))
    judge.refused(400, lambda: judge.Query("instance", ["name"], qfilter=["nosuch", "name", 1]))
    judge.refused(400, lambda: judge.Query("instance", ["name"], qfilter=["=", "nosuch", 1]))
    judge.same([name for [(_, name)] in judge.Query("node", ["name"])["data"]], NODES)
    for name in (web, down):
        judge.done(judge.DeleteInstance(name, shutdown_timeout=1))


CHAPTERS = [jobs, filters, queries, query_filters]
