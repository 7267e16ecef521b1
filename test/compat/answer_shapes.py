"""What each method of the client answers: the keys and JSON types of a real Ganeti 3.0's answers.

Newer versions may add keys, as Gannet does; none may go, and none may change its type.
"""

KINDS = {
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "dict": lambda value: isinstance(value, dict),
    "list": lambda value: isinstance(value, list),
    "none": lambda value: value is None,
    "strs": lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    "ints": lambda value: isinstance(value, list) and all(isinstance(each, int) for each in value),
    # A word, or `["RATE_LIMIT", jobs]`.
    "action": lambda value: isinstance(value, (str, list)),
    # Seconds and microseconds of an instant.
    "time": lambda value: isinstance(value, list) and [type(each) for each in value] == [int, int],
}


def keys(text):
    """The keys of an object, `key:kind` each; `key:kind?` may be None too."""
    return dict(pair.rsplit(":", 1) for pair in text.split())


class Rows:
    """A list of objects of the same keys."""

    def __init__(self, row):
        self.row = row


INFO = keys(
    "architecture:strs beparams:dict blacklisted_os:strs candidate_pool_size:int compression_tools:strs"
    " config_version:int ctime:number data_collector_interval:dict default_hypervisor:str default_iallocator:str"
    " default_iallocator_params:dict diskparams:dict drbd_helper:str? drbd_usermode_helper:str?"
    " enabled_data_collectors:dict enabled_disk_templates:strs enabled_hypervisors:strs enabled_user_shutdown:bool"
    " export_version:int file_storage_dir:str gluster_storage_dir:str hidden_os:strs hvparams:dict install_image:str"
    " instance_communication_network:str ipolicy:dict mac_prefix:str maintain_node_health:bool master:str"
    " master_netdev:str master_netmask:int max_running_jobs:int max_tracked_jobs:int modify_ssh_setup:bool"
    " mtime:number name:str ndparams:dict nicparams:dict os_api_version:int os_hvp:dict osparams:dict"
    " prealloc_wipe_disks:bool primary_ip_version:int protocol_version:int reserved_lvs:strs"
    " shared_file_storage_dir:str software_version:str ssh_key_bits:int ssh_key_type:str tags:strs uid_pool:list"
    " use_external_mip_script:bool uuid:str vcs_version:str vg_name:str? volume_group_name:str? zeroing_image:str"
)
NODE = keys(
    "cnodes:int? cnos:int? csockets:int? ctime:number ctotal:int? dfree:int? drained:bool dtotal:int? group.uuid:str"
    " master_candidate:bool master_capable:bool mfree:int? mnode:int? mtime:number mtotal:int? name:str offline:bool"
    " ndparams:dict pinst_cnt:int pinst_list:strs pip:str role:str serial_no:int sinst_cnt:int sinst_list:strs"
    " sip:str spfree:int? sptotal:int? tags:strs uuid:str vm_capable:bool"
)
GROUP = keys(
    "alloc_policy:str ctime:number custom_diskparams:dict custom_ipolicy:dict custom_ndparams:dict diskparams:dict"
    " ipolicy:dict mtime:number name:str ndparams:dict node_cnt:int node_list:strs serial_no:int tags:strs uuid:str"
)
INSTANCE = keys(
    "admin_state:str beparams:dict ctime:number custom_beparams:dict custom_hvparams:dict custom_nicparams:list"
    " disk.names:list disk.sizes:ints disk.spindles:list disk.uuids:strs disk_template:str disk_usage:int"
    " hvparams:dict mtime:number name:str network_port:int? nic.bridges:list nic.ips:list nic.links:strs"
    " nic.macs:strs nic.modes:strs nic.names:list nic.networks:list nic.networks.names:list nic.uuids:strs"
    " oper_ram:int? oper_state:bool oper_vcpus:int? os:str pnode:str serial_no:int snodes:strs status:str tags:strs"
    " uuid:str"
)
NETWORK = keys(
    "ctime:number external_reservations:str free_count:int gateway:str? gateway6:str? group_list:list inst_list:strs"
    " mac_prefix:str? map:str mtime:number name:str network:str network6:str? reserved_count:int serial_no:int"
    " tags:strs uuid:str"
)
JOB_ROW = keys(
    "end_ts:time? id:int ops:list opstatus:strs received_ts:time? start_ts:time? status:str summary:strs"
)
JOB = {**JOB_ROW, **keys("oplog:list opresult:list")}
FILTER = keys("action:action predicates:list priority:int reason_trail:list uuid:str watermark:int")
ALLOCATION = keys("mode:str name:str disk_template:str disks:list nics:list")
CONSOLE = keys("instance:str kind:str message:str?")
QUERY = keys("data:list fields:list")

#: One answer for each method, or several where an argument changes it: the first that fits counts.
ANSWERS = {
    "GetVersion": ["int"],
    "GetFeatures": ["strs"],
    "GetOperatingSystems": ["strs"],
    "GetInfo": [INFO],
    "GetInstances": [Rows(INSTANCE), "strs"],
    "GetInstance": [INSTANCE],
    "GetInstanceConsole": [CONSOLE],
    "InstanceAllocation": [ALLOCATION],
    "GetNodes": [Rows(NODE), "strs"],
    "GetNode": [NODE],
    "GetNodeRole": ["str"],
    "GetGroups": [Rows(GROUP), "strs"],
    "GetGroup": [GROUP],
    "GetNetworks": [Rows(NETWORK), "strs"],
    "GetNetwork": [NETWORK],
    "GetJobs": [Rows(JOB_ROW), "ints"],
    "GetJobStatus": [JOB],
    "WaitForJobCompletion": ["bool"],
    "WaitForJobChange": [keys("job_info:list log_entries:list"), "none"],
    "CancelJob": ["list"],
    "Query": [QUERY],
    "QueryFields": [keys("fields:list")],
    "GetFilters": [Rows(FILTER), "strs"],
    "GetFilter": [FILTER],
    "AddFilter": ["str"],
    "ReplaceFilter": ["str"],
    "DeleteFilter": ["none"],
    **{"Get%sTags" % what: ["strs"] for what in ("Cluster", "Node", "Group", "Network", "Instance")},
}
#: All others submit a job and answer its id.
JOB_ID = ["int"]


def mismatch(shape, value):
    """What is wrong with an answer, or None."""
    if isinstance(shape, str):
        kind = shape.rstrip("?")
        return None if (value is None and kind != shape) or KINDS[kind](value) else "%r is no %s" % (value, shape)
    if isinstance(shape, Rows):
        if not isinstance(value, list):
            return "%r is no list" % (value,)
        return next((wrong for wrong in (mismatch(shape.row, row) for row in value) if wrong), None)
    if not isinstance(value, dict):
        return "%r is no object" % (value,)
    missing = sorted(set(shape) - set(value))
    if missing:
        return "it lacks %s" % ", ".join(missing)
    return next(
        ("%s: %s" % (key, wrong) for key, kind in shape.items() for wrong in [mismatch(kind, value[key])] if wrong),
        None,
    )


def wrong_answer(method, answer):
    """Why a method's answer has none of its shapes, or None."""
    problems = [mismatch(shape, answer) for shape in ANSWERS.get(method, JOB_ID)]
    return None if None in problems else "%s: %s" % (method, " / ".join(problems))
