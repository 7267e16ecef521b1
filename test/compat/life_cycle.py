"""An instance's whole life, driven by Debian's python3-ganeti-rapi as it is.

Usage: life_cycle.py PORT USER PASSWORD HYPERVISOR. Prints one JSON object a step: {"step": …, "value": …}.
"""

import json
import sys

from ganeti.rapi import client as rapi

NAME = "web1.gannet.test"


def main():
    port, user, password, hypervisor = sys.argv[1:]
    client = rapi.GanetiRapiClient("127.0.0.1", int(port), username=user, password=password)

    def show(step, value):
        print(json.dumps({"step": step, "value": value}), flush=True)

    def finish(step, job_id):
        ok = client.WaitForJobCompletion(job_id, period=0.2, retries=900)
        show(step, {"ok": ok, "job": client.GetJobStatus(job_id)})

    def refused(step, call):
        try:
            show(step, {"answer": call()})
        except rapi.GanetiApiError as error:
            show(step, {"code": error.code, "text": str(error)})

    show("version", client.GetVersion())
    show("features", sorted(client.GetFeatures()))
    show("info", client.GetInfo())
    show("os", client.GetOperatingSystems())
    show("nodes", client.GetNodes())
    show("nodes-bulk", client.GetNodes(bulk=True))
    show("node", client.GetNode("node1.gannet.test"))
    show("node-role", client.GetNodeRole("node1.gannet.test"))
    show("groups", client.GetGroups(bulk=True))

    create = {
        "mode": "create",
        "name": NAME,
        "disk_template": "file",
        "disks": [{"size": 128}],
        "nics": [{}],
        "os": "noop",
        "pnode": "node1.gannet.test",
        "hypervisor": hypervisor,
    }
    finish("dry-run", client.CreateInstance(dry_run=True, **create))
    show("after-dry-run", client.GetInstances())
    finish("create", client.CreateInstance(**create))
    show("instances", client.GetInstances())
    show("running", client.GetInstance(NAME))
    show("bulk", client.GetInstances(bulk=True))
    show("console", client.GetInstanceConsole(NAME))
    finish("info-job", client.GetInstanceInfo(NAME))
    finish("create-again", client.CreateInstance(**create))

    finish("tag", client.AddInstanceTags(NAME, ["red", "owner:bob"]))
    show("tags", client.GetInstanceTags(NAME))
    finish("untag", client.DeleteInstanceTags(NAME, ["red"]))
    show("tags-left", client.GetInstanceTags(NAME))
    finish("cluster-tag", client.AddClusterTags(["blue"]))
    show("cluster-tags", client.GetClusterTags())
    finish("node-tag", client.AddNodeTags("node1.gannet.test", ["rack:1"]))
    show("node-tags", client.GetNodeTags("node1.gannet.test"))
    finish("group-tag", client.AddGroupTags("default", ["main"]))
    show("group-tags", client.GetGroupTags("default"))

    finish("shutdown", client.ShutdownInstance(NAME, timeout=1))
    show("down", client.GetInstance(NAME))
    refused("console-down", lambda: client.GetInstanceConsole(NAME))
    finish("startup", client.StartupInstance(NAME))
    show("up", client.GetInstance(NAME))
    for kind in ("soft", "hard", "full"):
        finish("reboot-" + kind, client.RebootInstance(NAME, reboot_type=kind, shutdown_timeout=1))
        show("rebooted-" + kind, client.GetInstance(NAME))

    hot = {
        "nics": [["add", -1, {"mac": "aa:00:00:77:00:01", "name": "second"}]],
        "disks": [["add", {"size": 64}]],
        "hotplug_if_possible": True,
    }
    finish("modify-devices", client.ModifyInstance(NAME, **hot))
    show("with-devices", client.GetInstance(NAME))
    finish("modify", client.ModifyInstance(NAME, beparams={"vcpus": 2}))
    finish("modify-os", client.ModifyInstance(NAME, osparams={"dhcp": "yes"}))
    finish("modify-nothing", client.ModifyInstance(NAME))
    finish("shutdown-again", client.ShutdownInstance(NAME, timeout=1))
    # A guest without an operating system never lets go of a device while it runs.
    less = {"nics": [["remove", "second", {}]], "disks": [["remove", -1, {}]]}
    finish("modify-back", client.ModifyInstance(NAME, **less))
    show("modified", client.GetInstance(NAME))
    finish("reinstall", client.ReinstallInstance(NAME, os="noop"))
    show("reinstalled", client.GetInstance(NAME))
    finish("rename-running", client.RenameInstance(NAME, "web3.gannet.test"))
    finish("shutdown-to-rename", client.ShutdownInstance(NAME, timeout=1))
    finish("rename", client.RenameInstance(NAME, "web3.gannet.test", ip_check=False, name_check=False))
    show("renamed", client.GetInstances())
    finish("offline", client.ModifyInstance("web3.gannet.test", offline=True))
    show("offline-state", client.GetInstance("web3.gannet.test"))
    finish("startup-offline", client.StartupInstance("web3.gannet.test"))
    finish("online", client.ModifyInstance("web3.gannet.test", offline=False))
    finish("rename-back", client.RenameInstance("web3.gannet.test", NAME))
    finish("startup-again", client.StartupInstance(NAME))
    finish("prepare-export", client.PrepareExport(NAME, "local"))

    several = [
        client.InstanceAllocation(**dict(create, name=name, start=False, osparams_secret={}))
        for name in ("many1.gannet.test", "many2.gannet.test")
    ]
    finish("multi-alloc", client.InstancesMultiAlloc(several))
    submitted = client.GetJobs(bulk=True)
    for job in submitted:
        client.WaitForJobCompletion(job["id"], period=0.2)
    show("many", client.GetInstances())
    for name in ("many1.gannet.test", "many2.gannet.test"):
        finish("delete-" + name, client.DeleteInstance(name))

    finish("delete", client.DeleteInstance(NAME, shutdown_timeout=1))
    show("gone", client.GetInstances())
    refused("instance-gone", lambda: client.GetInstance(NAME))
    refused("job-unknown", lambda: client.GetJobStatus(999999))

    job_id = client.CreateInstance(**dict(create, name="web2.gannet.test", os="nosuchos"))
    show("failed", {"ok": client.WaitForJobCompletion(job_id, period=0.2), "job": client.GetJobStatus(job_id)})
    show("change", client.WaitForJobChange(job_id, ["id", "status"], None, None))
    show("cancel-final", client.CancelJob(job_id))
    show("jobs", len(client.GetJobs()))


main()
