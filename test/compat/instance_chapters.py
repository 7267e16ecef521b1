"""Instances, their disks and their exports, by every method that the client has for them."""

import pathlib

from judge import FAKE, NODE1, NODE2, NODE3, WEB, create, tags_of


def templates(judge):
    """A short life in every disk template that the cluster has."""
    for template in judge.GetInfo()["enabled_disk_templates"]:
        disks = [] if template == "diskless" else [{"size": 32, "name": "root"}, {"size": 16, "mode": "ro"}]
        second = {"snode": NODE3} if template == "drbd" else {}
        job_id = create(judge, WEB, template, disks, pnode=NODE2, tags=[template], **second)
        judge.same(judge.done(job_id), [NODE2, *second.values()])
        row = judge.GetInstance(WEB)
        judge.has(row, disk_template=template, status="running", disk_sizes=[each["size"] for each in disks])
        judge.same(judge.GetInstanceTags(WEB), [template])
        judge.done(judge.RebootInstance(WEB, reboot_type="full", shutdown_timeout=1))
        judge.has(judge.GetInstance(WEB), status="running", disk_names=["root", None][: len(disks)])
        judge.done(judge.DeleteInstance(WEB, shutdown_timeout=1))
        judge.same(judge.GetInstances(), [])


def instance_life(judge):
    spec = {
        **{"beparams": {"minmem": 128, "maxmem": 192, "vcpus": 2}, "osparams": {}, "start": False, "pnode": NODE1},
        **{"ip_check": False, "name_check": False, "wait_for_sync": True, "no_install": False, "tags": ["new"]},
    }
    nics = [{"mac": "aa:00:00:77:00:01", "name": "eth0"}, {"mode": "routed", "ip": "198.51.100.7", "link": "100"}]
    judge.done(create(judge, WEB, "file", [{"size": 64}], dry_run=True, **spec))
    judge.same(judge.GetInstances(reason="only tried"), [])
    judge.done(create(judge, WEB, "file", [{"size": 64}], nics=nics, reason="a site", **spec))
    row = judge.GetInstance(WEB, reason="to see")
    judge.has(row, status="ADMIN_down", admin_state="down", oper_state=False, oper_ram=None, tags=["new"])
    judge.has(row, nic_names=["eth0", None], nic_modes=["bridged", "routed"], nic_ips=[None, "198.51.100.7"])
    judge.refused(503, lambda: judge.GetInstanceConsole(WEB))
    judge.done(judge.StartupInstance(WEB, dry_run=True))
    judge.same(judge.GetInstance(WEB)["status"], "ADMIN_down")
    judge.done(judge.StartupInstance(WEB, no_remember=True))
    judge.has(judge.GetInstance(WEB), status="ERROR_up", oper_state=True, admin_state="down")
    judge.done(judge.StartupInstance(WEB, reason="again"))
    judge.has(judge.GetInstance(WEB), status="running", oper_ram=192, oper_vcpus=2)
    judge.has(judge.GetInstanceConsole(WEB, reason="look"), instance=WEB, kind="msg")
    judge.same([row["name"] for row in judge.GetInstances(bulk=True)], [WEB])
    for static in (None, True):
        details = judge.done(judge.GetInstanceInfo(WEB, static=static and 1, reason="all of it"))[WEB]
        judge.has(details, run_state=None if static else "up", config_state="up", os="noop", pnode=NODE1)
        judge.has(details["disks"][0], size=64, mode="rw", iv_name="disk/0", dev_type="file")
    judge.done(judge.ShutdownInstance(WEB, dry_run=True))
    judge.done(judge.ShutdownInstance(WEB, no_remember=True, timeout=1))
    judge.has(judge.GetInstance(WEB), status="ERROR_down", admin_state="up", oper_state=False)
    judge.done(judge.StartupInstance(WEB))
    for kind in ("soft", "hard", "full"):
        more = {"ignore_secondaries": kind == "full", "reason": "it hangs"}
        judge.done(judge.RebootInstance(WEB, reboot_type=kind, shutdown_timeout=1, **more))
    judge.done(judge.RebootInstance(WEB, dry_run=True))
    judge.same(judge.GetInstance(WEB)["status"], "running")
    tags_of(
        judge,
        lambda **more: sorted(set(judge.GetInstanceTags(WEB, **more)) - {"new"}),
        lambda tags, **more: judge.AddInstanceTags(WEB, tags, **more),
        lambda tags, **more: judge.DeleteInstanceTags(WEB, tags, **more),
    )
    modification = {
        "beparams": {"vcpus": 1, "auto_balance": False},
        "disks": [["add", -1, {"size": 16, "name": "log"}], ["modify", 0, {"name": "root"}]],
        "nics": [["add", 1, {"ip": "198.51.100.8", "mode": "routed", "link": "100"}], ["remove", 2, {}]],
    }
    judge.done(judge.ShutdownInstance(WEB, timeout=1, reason="to change it"))
    changed = dict(map(tuple, judge.done(judge.ModifyInstance(WEB, reason="more room", **modification))))
    judge.has(changed, **{"be/vcpus": 1, "be/auto_balance": False})
    row = judge.GetInstance(WEB)
    judge.has(row, disk_sizes=[64, 16], disk_names=["root", "log"], nic_ips=[None, "198.51.100.8"])
    judge.has(row, custom_beparams={"minmem": 128, "maxmem": 192, "vcpus": 1, "auto_balance": False})
    judge.done(judge.ModifyInstance(WEB, offline=True))
    judge.same(judge.GetInstance(WEB)["status"], "ADMIN_offline")
    judge.done(judge.ModifyInstance(WEB, offline=False, beparams={"vcpus": "default"}))
    judge.same(judge.GetInstance(WEB)["beparams"]["vcpus"], 1)
    judge.done(judge.ReinstallInstance(WEB, os="noop", no_startup=True, osparams={}, reason="broken"))
    judge.same(judge.GetInstance(WEB)["status"], "ADMIN_down")
    renamed = judge.RenameInstance(WEB, "web9.gannet.test", ip_check=False, name_check=False)
    judge.same(judge.done(renamed), "web9.gannet.test")
    judge.same(judge.GetInstances(), ["web9.gannet.test"])
    judge.done(judge.RenameInstance("web9.gannet.test", WEB, reason="better before"))
    judge.done(judge.ReinstallInstance(WEB))
    judge.same(judge.GetInstance(WEB)["status"], "running")
    judge.done(judge.DeleteInstance(WEB, dry_run=True))
    judge.same(judge.GetInstances(), [WEB])
    judge.done(judge.DeleteInstance(WEB, shutdown_timeout=1, reason="gone"))
    judge.refused(404, lambda: judge.GetInstance(WEB))


def disks(judge):
    judge.done(create(judge, WEB, "drbd", [{"size": 32}], pnode=NODE1, snode=NODE2))
    judge.done(judge.GrowInstanceDisk(WEB, 0, 16, wait_for_sync=True, reason="full"))
    judge.same(judge.GetInstance(WEB)["disk.sizes"], [48])
    for mode, more in [
        ("replace_on_primary", {"disks": [0]}),
        ("replace_on_secondary", {"early_release": True}),
        ("replace_new_secondary", {"remote_node": NODE3}),
    ]:
        judge.done(judge.ReplaceInstanceDisks(WEB, mode=mode, reason=mode, **more))
        secondary = more.get("remote_node", NODE2)
        judge.has(judge.GetInstance(WEB), pnode=NODE1, snodes=[secondary], status="running")
    # Nothing is broken.
    judge.done(judge.ReplaceInstanceDisks(WEB))
    judge.done(judge.MigrateInstance(WEB, mode="live", reason="new memory"))
    judge.has(judge.GetInstance(WEB), pnode=NODE3, snodes=[NODE1], status="running")
    judge.done(judge.MigrateInstance(WEB, cleanup=True))
    judge.done(judge.FailoverInstance(WEB, ignore_consistency=True, reason="fire"))
    judge.has(judge.GetInstance(WEB), pnode=NODE1, snodes=[NODE3], status="running")
    judge.done(judge.ShutdownInstance(WEB, timeout=1))
    activated = judge.done(judge.ActivateInstanceDisks(WEB, ignore_size=True, reason="look inside"))
    judge.same([each[:2] for each in activated], [[NODE1, "disk/0"]])
    judge.done(judge.DeactivateInstanceDisks(WEB, force=True, reason="seen"))
    judge.done(judge.DeleteInstance(WEB))


def lost_disks(judge):
    """Disks that are gone are made again: one of them where it was, or all on a node that is named or chosen."""
    judge.done(create(judge, WEB, "file", [{"size": 16}, {"size": 32}], pnode=NODE2, start=False))

    def lose(*indexes):
        rows = judge.done(judge.GetInstanceInfo(WEB))[WEB]["disks"]
        for index in indexes:
            # Each node has its own folder for what it knows by this path.
            name = pathlib.Path(rows[index]["logical_id"][1]).name
            [file] = pathlib.Path(judge.state_dir).rglob(name)
            file.unlink()

    lose(1)
    judge.done(judge.RecreateInstanceDisks(WEB, disks=[1], reason="lost"))
    judge.done(judge.StartupInstance(WEB))
    judge.has(judge.GetInstance(WEB), pnode=NODE2, disk_sizes=[16, 32], status="running")
    judge.fails(judge.RecreateInstanceDisks(WEB), "wrong_state")
    judge.fails(judge.MigrateInstance(WEB), "wrong_state")
    judge.done(judge.ShutdownInstance(WEB, timeout=1))
    lose(0, 1)
    judge.done(judge.RecreateInstanceDisks(WEB, nodes=[NODE3]))
    judge.has(judge.GetInstance(WEB), pnode=NODE3, disk_sizes=[16, 32], status="ADMIN_down")
    lose(0, 1)
    judge.done(judge.RecreateInstanceDisks(WEB, iallocator="hail"))
    judge.done(judge.StartupInstance(WEB))
    judge.done(judge.DeleteInstance(WEB, shutdown_timeout=1))


def shared_disks(judge):
    """An instance whose disks every node reaches goes where it is sent."""
    judge.done(create(judge, WEB, "sharedfile", [{"size": 16}], pnode=NODE1))
    judge.done(judge.MigrateInstance(WEB, target_node=NODE2, mode="non-live"))
    judge.has(judge.GetInstance(WEB), pnode=NODE2, status="running")
    judge.done(judge.FailoverInstance(WEB, target_node=NODE3))
    judge.has(judge.GetInstance(WEB), pnode=NODE3, status="running")
    judge.done(judge.FailoverInstance(WEB, iallocator="hail"))
    judge.same(judge.GetInstance(WEB)["pnode"] in (NODE1, NODE2), True)
    source = judge.GetInstance(WEB)["pnode"]
    judge.same(judge.done_with_others(judge.MigrateNode(source, target_node=NODE3)), ["INSTANCE_MIGRATE(%s)" % WEB])
    judge.has(judge.GetInstance(WEB), pnode=NODE3, status="running")
    judge.done(judge.DeleteInstance(WEB, shutdown_timeout=1))


def exports(judge):
    judge.done(create(judge, WEB, "plain", [{"size": 32, "name": "root"}], pnode=NODE1, beparams={"vcpus": 2}))
    judge.same(judge.done(judge.PrepareExport(WEB, "local", reason="soon")), None)
    running = judge.ExportInstance(WEB, "local", NODE2, shutdown=False, compress="none", reason="tonight")
    judge.same(judge.done(running), [True, [True]])
    judge.same(judge.GetInstance(WEB)["status"], "running")
    judge.same(exported(judge), [[NODE2, WEB]])
    last = judge.ExportInstance(WEB, "local", NODE3, shutdown=True, remove_instance=True, compress="gzip")
    judge.same(judge.done(last), [True, [True]])
    judge.same([judge.GetInstances(), exported(judge)], [[], [[NODE3, WEB]]])
    source = {"src_node": NODE3, "src_path": WEB, "compress": "gzip", "identify_defaults": True}
    again = judge.CreateInstance("import", WEB, "file", [], [], pnode=NODE1, hypervisor="fake", **source)
    judge.done(again)
    row = judge.GetInstance(WEB)
    judge.has(row, disk_template="file", disk_sizes=[32], status="running", os="noop")
    judge.same(row["custom_beparams"], {"vcpus": 2})
    judge.done(judge.DeleteInstance(WEB, shutdown_timeout=1))


def exported(judge):
    """Where which exports are; a node without any has a row that tells so."""
    rows = judge.Query("export", ["node", "export"])["data"]
    return [[node, name] for (_, node), (status, name) in rows if status == 0]


def several(judge):
    names = ["many%d.gannet.test" % number for number in (1, 2)]
    each = dict(FAKE, beparams={"vcpus": 1}, dry_run=True)
    wanted = [judge.InstanceAllocation("create", name, "plain", [{"size": 16}], [{}], **each) for name in names]
    judge.same(["dry_run" in each for each in wanted], [False, False])
    tried = judge.InstancesMultiAlloc(wanted, dry_run=True, iallocator="hail", reason="is there room")
    judge.done(tried)
    judge.same(judge.GetInstances(), [])
    judge.same(
        judge.done_with_others(judge.InstancesMultiAlloc(wanted, iallocator="hail", opportunistic_locking=True)),
        ["INSTANCE_CREATE(%s)" % name for name in names],
    )
    rows = judge.GetInstances(bulk=True)
    judge.same([[row["name"], row["status"]] for row in rows], [[name, "running"] for name in names])
    for name in names:
        judge.done(judge.DeleteInstance(name, shutdown_timeout=1))


CHAPTERS = [templates, instance_life, disks, lost_disks, shared_disks, exports, several]
