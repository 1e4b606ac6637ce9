"""The table: which APIs are served in which versions. What changes here, clients notice."""

from __future__ import annotations

import pytest
from kafka.protocol.broker_version_data import BrokerVersionData

from gstream.kafka.table import TABLE

SERVED = {
    0: ("Produce", 0, 9),
    1: ("Fetch", 4, 17),
    2: ("ListOffsets", 1, 8),
    3: ("Metadata", 0, 12),
    8: ("OffsetCommit", 1, 8),
    9: ("OffsetFetch", 1, 8),
    10: ("FindCoordinator", 0, 4),
    11: ("JoinGroup", 0, 9),
    12: ("Heartbeat", 0, 4),
    13: ("LeaveGroup", 0, 5),
    14: ("SyncGroup", 0, 5),
    15: ("DescribeGroups", 0, 5),
    16: ("ListGroups", 0, 5),
    18: ("ApiVersions", 0, 4),
    19: ("CreateTopics", 0, 7),
    20: ("DeleteTopics", 1, 6),
    21: ("DeleteRecords", 0, 2),
    22: ("InitProducerId", 0, 4),
    23: ("OffsetForLeaderEpoch", 0, 4),
    24: ("AddPartitionsToTxn", 0, 3),
    25: ("AddOffsetsToTxn", 0, 3),
    26: ("EndTxn", 0, 3),
    28: ("TxnOffsetCommit", 0, 3),
    32: ("DescribeConfigs", 0, 4),
    33: ("AlterConfigs", 0, 2),
    34: ("AlterReplicaLogDirs", 1, 2),
    35: ("DescribeLogDirs", 0, 4),
    37: ("CreatePartitions", 0, 3),
    42: ("DeleteGroups", 0, 2),
    43: ("ElectLeaders", 0, 2),
    44: ("IncrementalAlterConfigs", 0, 1),
    45: ("AlterPartitionReassignments", 0, 0),
    46: ("ListPartitionReassignments", 0, 0),
    47: ("OffsetDelete", 0, 0),
    60: ("DescribeCluster", 0, 1),
}


def test_what_is_served():
    assert {key: (api.name, api.versions[0], api.versions[-1]) for key, api in TABLE.items()} == SERVED


def test_rows_are_in_the_order_of_their_keys():
    rows = [key for key in TABLE if key != 18]  # that one tells of all others, and so comes after them
    assert rows == sorted(rows)


@pytest.mark.parametrize("key", SERVED)
def test_the_classes_are_those_of_the_api(key):
    api = TABLE[key]
    assert api.request.API_KEY == api.response.API_KEY == key
    assert api.name == api.request.name.removesuffix("Request") == api.response.name.removesuffix("Response")
    assert api.versions[-1] <= min(api.request.max_version, api.response.max_version)


@pytest.mark.parametrize("key", SERVED)
def test_kafka_itself_serves_versions_that_are_served_here(key):
    theirs = BrokerVersionData((3, 9)).api_versions[key]
    assert theirs[0] <= TABLE[key].versions[-1]
    assert TABLE[key].versions[0] <= theirs[1]
    assert TABLE[key].versions[-1] <= theirs[1]
