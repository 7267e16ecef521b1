"""The cluster, its groups and networks, driven by Debian's python3-ganeti-rapi as it is.

Usage: cluster_life.py PORT USER PASSWORD. Prints one JSON object a step: {"step": …, "value": …}.
"""

import json
import sys

from ganeti.rapi import client as rapi

NODES = ["node%d.gannet.test" % number for number in (1, 2, 3)]


def main():
    port, user, password = sys.argv[1:]
    client = rapi.GanetiRapiClient("127.0.0.1", int(port), username=user, password=password)

    def show(step, value):
        print(json.dumps({"step": step, "value": value}), flush=True)

    def finish(step, job_id):
        ok = client.WaitForJobCompletion(job_id, period=0.2, retries=900)
        show(step, {"ok": ok, "job": client.GetJobStatus(job_id)})

    finish("redistribute", client.RedistributeConfig())
    finish("modify-nothing", client.ModifyCluster())
    finish("modify", client.ModifyCluster(candidate_pool_size=2, beparams={"memory": 256}, hidden_os=[["add", "noop"]]))
    show("info", client.GetInfo())
    finish("modify-back", client.ModifyCluster(beparams={"memory": 128}, hidden_os=[["remove", "noop"]]))
    finish("modify-in-use", client.ModifyCluster(vg_name=""))
    finish("modify-hvparams", client.ModifyCluster(hvparams={"fake": {"migration_mode": "non-live"}}))
    finish("modify-missing-group", client.ModifyCluster(vg_name="nosuch"))

    finish("group-add", client.CreateGroup("rack2", alloc_policy="last_resort"))
    finish("group-modify", client.ModifyGroup("rack2", alloc_policy="preferred", ndparams={"spindle_count": 2}))
    finish("group-tags", client.AddGroupTags("rack2", ["cold"]))
    finish("group-rename", client.RenameGroup("rack2", "rack3"))
    finish("group-assign", client.AssignGroupNodes("rack3", [NODES[2]]))
    show("group", client.GetGroup("rack3"))
    finish("group-remove-full", client.DeleteGroup("rack3"))
    finish("group-assign-back", client.AssignGroupNodes("default", [NODES[2]]))
    finish("group-remove", client.DeleteGroup("rack3"))
    show("groups", client.GetGroups())

    finish("network-add", client.CreateNetwork("lan", network="203.0.113.0/28", gateway="203.0.113.1", tags="a"))
    finish("network-connect", client.ConnectNetwork("lan", "default", "bridged", "xen-br0"))
    finish("network-modify", client.ModifyNetwork("lan", add_reserved_ips=["203.0.113.2"]))
    finish("network-tags", client.AddNetworkTags("lan", ["b"]))
    instance = {
        "disk_template": "drbd",
        "disks": [{"size": 128}],
        "nics": [{"network": "lan", "ip": "pool"}],
        "os": "noop",
        "pnode": NODES[0],
        "snode": NODES[1],
        "hypervisor": "fake",
    }
    finish("create", client.CreateInstance("create", "net1.gannet.test", **instance))
    show("instance", client.GetInstance("net1.gannet.test"))
    show("network", client.GetNetwork("lan"))
    finish("network-disconnect-used", client.DisconnectNetwork("lan", "default"))
    finish("group-split", client.CreateGroup("other"))
    finish("assign-split", client.AssignGroupNodes("other", [NODES[1]]))


main()
