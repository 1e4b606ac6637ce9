"""What must be there in a request: by the schemas, for every API in every version."""

from __future__ import annotations

import pytest
from kafka.protocol.admin import CreateTopicsRequest, DeleteGroupsRequest, DescribeConfigsRequest
from kafka.protocol.consumer import OffsetFetchRequest
from kafka.protocol.metadata import ApiVersionsRequest, MetadataRequest

from gstream.kafka.encoding import MalformedError
from gstream.kafka.required import check, required_of
from gstream.kafka.table import TABLE

MetadataTopic = MetadataRequest.MetadataRequestTopic
CreatableTopic = CreateTopicsRequest.CreatableTopic
Resource = DescribeConfigsRequest.DescribeConfigsResource
CreatableTopicConfig = CreatableTopic.CreatableTopicConfig


def is_whole(request, version):
    try:
        check(request, required_of(type(request), version))
    except MalformedError:
        return False
    return True


@pytest.mark.parametrize(
    ("request_", "version", "whole"),
    [
        (MetadataRequest(topics=None), 0, False),
        (MetadataRequest(topics=None), 1, True),
        (MetadataRequest(topics=[]), 0, True),
        (MetadataRequest(topics=[MetadataTopic(name=None)]), 9, False),
        (MetadataRequest(topics=[MetadataTopic(name=None)]), 10, True),
        (MetadataRequest(topics=[MetadataTopic(name="t"), MetadataTopic(name=None)]), 1, False),
        (DeleteGroupsRequest(groups_names=["a", "b"]), 0, True),
        (DeleteGroupsRequest(groups_names=["a", None]), 0, False),
        (DeleteGroupsRequest(groups_names=None), 0, False),
        (ApiVersionsRequest(client_software_name=None), 0, True),
        (ApiVersionsRequest(client_software_name=None, client_software_version="1"), 3, False),
        (OffsetFetchRequest(group_id="g", topics=None), 1, False),
        (OffsetFetchRequest(group_id="g", topics=None), 2, True),
    ],
)
def test_null_is_allowed_where_the_schema_says_so(request_, version, whole):
    assert is_whole(request_, version) is whole


def test_what_is_in_an_array_in_an_array_is_looked_at():
    def creating(value, name="retention.ms"):
        config = CreatableTopicConfig(name=name, value=value)
        topic = CreatableTopic(name="t", num_partitions=1, replication_factor=1, assignments=[], configs=[config])
        return CreateTopicsRequest(topics=[topic], timeout_ms=1)

    assert is_whole(creating(None), 7)
    assert is_whole(creating("1"), 7)
    assert not is_whole(creating("1", name=None), 7)


def test_an_array_may_be_null_and_nothing_in_it():
    resource = {"resource_type": 2, "resource_name": "t"}
    assert is_whole(DescribeConfigsRequest(resources=[Resource(**resource, configuration_keys=None)]), 1)
    assert is_whole(DescribeConfigsRequest(resources=[Resource(**resource, configuration_keys=["a"])]), 1)
    assert not is_whole(DescribeConfigsRequest(resources=[Resource(**resource, configuration_keys=["a", None])]), 1)


ALL = [(api, version) for api in TABLE.values() for version in api.versions]


@pytest.mark.parametrize(("api", "version"), ALL, ids=[f"{api.name}-{version}" for api, version in ALL])
def test_every_name_is_one_that_requests_have(api, version):
    assert_names(api.request, required_of(api.request, version), api.request.json["fields"])


def assert_names(owner, required, fields):
    slots = {slot for base in owner.__mro__ for slot in getattr(base, "__slots__", ())}
    assert {each.name for each in required} <= slots
    kinds = {field["name"].lower(): field["type"].removeprefix("[]") for field in fields}
    inner_fields = {field["name"].lower(): field.get("fields", []) for field in fields}
    for each in required:
        if each.inner:
            name = each.name.replace("_", "")
            assert_names(getattr(owner, kinds[name]), each.inner, inner_fields[name])
