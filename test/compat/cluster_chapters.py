"""The cluster, its groups, networks and nodes, by every method that the client has for them."""

from judge import NODE1, NODE2, NODE3, NODES, WEB, create, tags_of


def cluster(judge):
    judge.same(judge.GetVersion(), 2)
    features = ["instance-create-reqv1", "instance-reinstall-reqv1", "node-evac-res1", "node-migrate-reqv1"]
    judge.same(sorted(judge.GetFeatures()), features)
    judge.same("noop" in judge.GetOperatingSystems(reason="which are there"), True)
    before = judge.GetInfo(reason="as it was")
    judge.has(before, name="cluster.gannet.test", master=NODE1, default_hypervisor="fake")

    job_id = judge.RedistributeConfig(reason="why not")
    judge.same(judge.done(job_id), None)
    trail = judge.GetJobStatus(job_id)["ops"][0]["reason"]
    judge.same([text for source, text, _ in trail if source == "gnt:user"], ["why not"])

    changes = {
        "candidate_pool_size": 7,
        "beparams": {"vcpus": 2, "maxmem": 256},
        "nicparams": {"link": "br0"},
        "ndparams": {"spindle_count": 3},
        "hidden_os": [["add", "noop"]],
        "blacklisted_os": [["add", "other"]],
        "ipolicy": {"vcpu-ratio": 6},
        "max_running_jobs": 15,
        "max_tracked_jobs": 17,
        "maintain_node_health": True,
        "prealloc_wipe_disks": True,
        "reserved_lvs": ["^swap$"],
        "default_iallocator": "hail",
        "mac_prefix": "aa:00:01",
        "install_image": "https://images.gannet.test/helper.img",
        "osparams": {"noop": {}},
    }
    judge.done(judge.ModifyCluster(reason="all at once", **changes))
    after = judge.GetInfo()
    judge.has(
        after,
        **dict(
            {key: changes[key] for key in changes if isinstance(changes[key], (int, str))},
            hidden_os=["noop"],
            blacklisted_os=["other"],
            reserved_lvs=["^swap$"],
        )
    )
    judge.has(after["beparams"]["default"], vcpus=2, maxmem=256, minmem=128)
    judge.same(after["nicparams"]["default"]["link"], "br0")
    judge.same([after["ndparams"]["spindle_count"], after["ipolicy"]["vcpu-ratio"]], [3, 6])
    back = {key: before[key] for key in changes if isinstance(changes[key], (int, str))}
    back.update(
        beparams=before["beparams"]["default"],
        nicparams=before["nicparams"]["default"],
        ndparams=before["ndparams"],
        ipolicy={"vcpu-ratio": before["ipolicy"]["vcpu-ratio"]},
        hidden_os=[["remove", "noop"]],
        blacklisted_os=[["remove", "other"]],
        reserved_lvs=[],
    )
    judge.done(judge.ModifyCluster(**back))
    restored = judge.GetInfo()
    changing = ("mtime", "serial_no", "osparams")
    judge.same(*({key: info[key] for key in before if key not in changing} for info in (restored, before)))
    judge.fails(judge.ModifyCluster(vg_name=""), "wrong_state")
    judge.refused(400, lambda: judge.ModifyCluster(nosuch=1))
    # What an administrator sets on the machine itself, as Ganeti has it.
    judge.refused(403, lambda: judge.ModifyCluster(compression_tools=["gzip"]))
    tags_of(judge, judge.GetClusterTags, judge.AddClusterTags, judge.DeleteClusterTags)


def groups(judge):
    judge.same(judge.GetGroups(), ["default"])
    judge.done(judge.CreateGroup("rack2", alloc_policy="last_resort", dry_run=True))
    judge.same(judge.GetGroups(reason="only tried"), ["default"])
    judge.done(judge.CreateGroup("rack2", alloc_policy="last_resort", reason="more room"))
    judge.has(judge.GetGroup("rack2", reason="to see"), alloc_policy="last_resort", node_list=[], node_cnt=0)
    judge.fails(judge.CreateGroup("rack2"), "already_exists")
    policy = {"spindle-ratio": 16}
    changes = {"alloc_policy": "unallocable", "ndparams": {"spindle_count": 5}, "ipolicy": policy}
    judge.done(judge.ModifyGroup("rack2", diskparams={"drbd": {"resync-rate": 2048}}, reason="other disks", **changes))
    row = judge.GetGroup("rack2")
    judge.has(row, alloc_policy="unallocable", custom_ndparams={"spindle_count": 5}, custom_ipolicy=policy)
    judge.same([row["diskparams"]["drbd"]["resync-rate"], row["ipolicy"]["spindle-ratio"]], [2048, 16])
    judge.done(judge.RenameGroup("rack2", "rack3", reason="counted wrong"))
    judge.same(judge.GetGroups(), ["default", "rack3"])
    judge.refused(404, lambda: judge.GetGroup("rack2"))
    judge.done(judge.AssignGroupNodes("rack3", [NODE3], dry_run=True))
    judge.same(judge.GetGroup("rack3")["node_list"], [])
    judge.done(judge.AssignGroupNodes("rack3", [NODE3], force=True, reason="moved"))
    bulk = {row["name"]: row for row in judge.GetGroups(bulk=True)}
    judge.same([bulk["rack3"]["node_list"], sorted(bulk["default"]["node_list"])], [[NODE3], [NODE1, NODE2]])
    judge.same(judge.GetNode(NODE3)["group.uuid"], bulk["rack3"]["uuid"])
    judge.fails(judge.DeleteGroup("rack3"), "wrong_state")
    judge.done(judge.AssignGroupNodes("default", [NODE3]))
    tags_of(
        judge,
        lambda **more: judge.GetGroupTags("rack3", **more),
        lambda tags, **more: judge.AddGroupTags("rack3", tags, **more),
        lambda tags, **more: judge.DeleteGroupTags("rack3", tags, **more),
    )
    judge.done(judge.DeleteGroup("rack3", dry_run=True))
    judge.same(judge.GetGroups(), ["default", "rack3"])
    judge.done(judge.DeleteGroup("rack3", reason="no room"))
    judge.same(judge.GetGroups(), ["default"])


def networks(judge):
    net = {
        **{"network": "203.0.113.0/28", "gateway": "203.0.113.1"},
        **{"network6": "2001:db8::/64", "gateway6": "2001:db8::1", "mac_prefix": "aa:00:02"},
    }
    more = {"add_reserved_ips": "203.0.113.2,203.0.113.3", "tags": "first,second"}
    judge.done(judge.CreateNetwork("lan", dry_run=True, **net, **more))
    judge.same(judge.GetNetworks(reason="only tried"), [])
    judge.done(judge.CreateNetwork("lan", reason="for guests", **net, **more))
    row = judge.GetNetwork("lan", reason="to see")
    # First and last address, gateway, two that are reserved.
    judge.has(row, free_count=11, reserved_count=5, map="XXXX" + "." * 11 + "X", group_list=[], inst_list=[], **net)
    judge.same(judge.GetNetworkTags("lan"), ["first", "second"])
    judge.done(judge.DeleteNetworkTags("lan", ["first", "second"]))
    tags_of(
        judge,
        lambda **more: judge.GetNetworkTags("lan", **more),
        lambda tags, **more: judge.AddNetworkTags("lan", tags, **more),
        lambda tags, **more: judge.DeleteNetworkTags("lan", tags, **more),
    )
    judge.done(judge.ConnectNetwork("lan", "default", "bridged", "xen-br0", dry_run=True))
    judge.same(judge.GetNetwork("lan")["group_list"], [])
    judge.done(judge.ConnectNetwork("lan", "default", "bridged", "xen-br0", reason="here"))
    judge.same(judge.GetNetwork("lan")["group_list"], [["default", "bridged", "xen-br0", ""]])
    changes = {"remove_reserved_ips": ["203.0.113.2"], "gateway": "none", "mac_prefix": "aa:00:03"}
    judge.done(judge.ModifyNetwork("lan", add_reserved_ips=["203.0.113.14"], **changes))
    judge.has(judge.GetNetwork("lan"), gateway=None, mac_prefix="aa:00:03", map="X..X..........XX", free_count=12)

    judge.done(create(judge, WEB, "diskless", [], nics=[{"network": "lan", "ip": "pool"}], pnode=NODE1))
    nic = judge.GetInstance(WEB)
    judge.has(nic, nic_ips=["203.0.113.1"], nic_links=["xen-br0"])
    judge.same([nic["nic.networks.names"], nic["nic.macs"][0][:8]], [["lan"], "aa:00:03"])
    judge.has(judge.GetNetwork("lan"), inst_list=[WEB], free_count=11)
    judge.fails(judge.DisconnectNetwork("lan", "default"), "wrong_state")
    judge.done(judge.DeleteInstance(WEB, shutdown_timeout=1))
    [bulk] = judge.GetNetworks(bulk=True, reason="all")
    judge.has(bulk, free_count=12, inst_list=[])
    judge.done(judge.DisconnectNetwork("lan", "default", dry_run=True))
    judge.done(judge.DisconnectNetwork("lan", "default", reason="elsewhere"))
    judge.same(judge.GetNetwork("lan")["group_list"], [])
    judge.done(judge.DeleteNetwork("lan", dry_run=True))
    judge.same(judge.GetNetworks(), ["lan"])
    judge.done(judge.DeleteNetwork("lan", reason="no guests"))
    judge.refused(404, lambda: judge.GetNetwork("lan"))


def nodes(judge):
    judge.same(judge.GetNodes(reason="which"), NODES)
    rows = judge.GetNodes(bulk=True)
    judge.same([row["role"] for row in rows], ["M", "C", "C"])
    judge.same(judge.GetNodeRole(NODE1, reason="who rules"), "master")
    for role, letter in [("drained", "D"), ("offline", "O"), ("master-candidate", "C"), ("regular", "R")]:
        judge.done(judge.SetNodeRole(NODE3, role, force=role == "offline", auto_promote=False, reason="in turn"))
        judge.same([judge.GetNodeRole(NODE3), judge.GetNode(NODE3, reason="to see")["role"]], [role, letter])
    judge.done(judge.SetNodeRole(NODE3, "master-candidate", auto_promote=True))
    judge.same(judge.GetNodeRole(NODE3), "master-candidate")
    judge.refused(400, lambda: judge.SetNodeRole(NODE3, "queen"))
    judge.done(judge.ModifyNode(NODE3, ndparams={"spindle_count": 4}, master_capable=True, reason="new disks"))
    judge.same(judge.GetNode(NODE3)["ndparams"]["spindle_count"], 4)
    judge.done(judge.ModifyNode(NODE3, drained=True))
    judge.has(judge.GetNode(NODE3), drained=True, master_candidate=False)
    judge.done(judge.ModifyNode(NODE3, drained=False, master_candidate=True))
    tags_of(
        judge,
        lambda **more: judge.GetNodeTags(NODE2, **more),
        lambda tags, **more: judge.AddNodeTags(NODE2, tags, **more),
        lambda tags, **more: judge.DeleteNodeTags(NODE2, tags, **more),
    )
    fields = "name,size,used,free,allocatable,type,node"
    for kind in ("lvm-vg", "lvm-pv", "file"):
        units = judge.done(judge.GetNodeStorageUnits(NODE2, kind, fields, reason="how much"))
        judge.same([[size >= used + free, kind, NODE2] for _, size, used, free, *_ in units], [[True, kind, NODE2]])
    for flag in (False, True):
        judge.done(judge.ModifyNodeStorageUnits(NODE2, "lvm-pv", "/dev/vdb", allocatable=flag, reason="a while"))
        job_id = judge.GetNodeStorageUnits(NODE2, "lvm-pv", "allocatable,name")
        judge.same(judge.done(job_id), [[flag, "/dev/vdb"]])
    judge.done(judge.RepairNodeStorageUnits(NODE2, "lvm-vg", "xenvg", reason="to be sure"))
    judge.fails(judge.RepairNodeStorageUnits(NODE2, "file", "/nosuch"), "wrong_input")
    # All nodes share this machine.
    judge.fails(judge.PowercycleNode(NODE3, force=True, reason="it hangs"), "wrong_state")


def leaving_nodes(judge):
    """Instances leave a node: what is submitted for it, and where they are in the end."""
    judge.done(create(judge, WEB, "drbd", [{"size": 64}], pnode=NODE1, snode=NODE2))

    def place():
        row = judge.GetInstance(WEB)
        return [row["pnode"], *row["snodes"], row["status"]]

    judge.done(judge.MigrateNode(NODE1, dry_run=True))
    judge.same(place(), [NODE1, NODE2, "running"])
    migration = ["INSTANCE_MIGRATE(%s)" % WEB]
    judge.same(judge.done_with_others(judge.MigrateNode(NODE1, mode="live", reason="new memory")), migration)
    judge.same(place(), [NODE2, NODE1, "running"])
    evacuation = judge.EvacuateNode(NODE2, iallocator="hail", mode="primary-only", reason="fire")
    judge.same(judge.done_with_others(evacuation), migration)
    judge.same(place(), [NODE1, NODE2, "running"])
    replacement = ["INSTANCE_REPLACE_DISKS(%s)" % WEB]
    evacuation = judge.EvacuateNode(NODE2, remote_node=NODE3, mode="secondary-only", early_release=True)
    judge.same(judge.done_with_others(evacuation), replacement)
    judge.same(place(), [NODE1, NODE3, "running"])
    judge.done(judge.EvacuateNode(NODE3, iallocator=".", mode="all", dry_run=True))
    judge.same(place(), [NODE1, NODE3, "running"])
    judge.done(judge.DeleteInstance(WEB, shutdown_timeout=1))


CHAPTERS = [cluster, groups, networks, nodes, leaving_nodes]
