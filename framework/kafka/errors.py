"""What Kafka's errors mean, and what to change: every message about one of them is made here."""

import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeGuard

from aiokafka import errors
from aiokafka.errors import BrokerResponseError, KafkaError

from framework.borders import describe, message_of

__all__ = ["MEANINGS", "Meaning", "Operation", "UnreachableBrokerError", "explain", "not_authorized", "reason"]

Operation = Literal["READ", "WRITE", "DESCRIBE", "CREATE"]
"""An operation that an ACL of Kafka allows."""


class UnreachableBrokerError(errors.KafkaConnectionError):  # type: ignore[misc]  # aiokafka is untyped here
    """A server answers, but the address that the cluster advertises for its brokers does not.

    Its only argument is the message.
    """


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error means, and what to change, each as a part of a sentence."""

    what: str
    advice: str


_RETRY = "the client repeats such a request; if this goes on, look at the log of the broker"
_REPORT = "please report this as a bug of framework, with the command and the versions of Kafka and framework"

MEANINGS: Final[Mapping[type[Exception], Meaning]] = {
    # The connection
    errors.KafkaConnectionError: Meaning(
        "the connection to the broker failed or was closed",
        "check that the broker runs and --bootstrap-servers names it; if TLS or SASL is needed, set security_protocol",
    ),
    errors.NodeNotReadyError: Meaning(
        "a broker of the cluster cannot be reached at the address that it advertises",
        "check that the broker runs, and advertised.listeners in its configuration",
    ),
    errors.NoBrokersAvailable: Meaning(
        "none of the brokers can be reached", "check that the brokers run and --bootstrap-servers names one of them"
    ),
    errors.KafkaTimeoutError: Meaning(
        "the broker did not answer in time",
        "check the load of the broker and the network, or raise request_timeout_ms",
    ),
    errors.RequestTimedOutError: Meaning(
        "the broker did not finish the request in time",
        "check the load of the broker and its in-sync replicas, or raise request_timeout_ms",
    ),
    errors.CorrelationIdError: Meaning(
        "the response does not belong to the request, so the server may not be Kafka",
        "check that --bootstrap-servers names a listener of a Kafka broker",
    ),
    errors.StaleMetadata: Meaning("the list of brokers is out of date", _RETRY),
    errors.MetadataEmptyBrokerList: Meaning("the cluster has no broker yet", _RETRY),
    errors.IncompatibleBrokerVersion: Meaning(
        "the broker does not know a request that is needed", "use Apache Kafka 2.1 or newer"
    ),
    errors.UnrecognizedBrokerVersion: Meaning("the broker's version is unknown", "use Apache Kafka 2.1 or newer"),
    errors.UnsupportedVersionError: Meaning(
        "the broker does not support this version of a request", "use Apache Kafka 2.1 or newer"
    ),
    # Security
    errors.SaslAuthenticationFailed: Meaning(
        "the broker refused the user name or the password",
        "check sasl_plain_username, sasl_plain_password and sasl_mechanism",
    ),
    errors.AuthenticationFailedError: Meaning(
        "the broker refused the credentials", "check sasl_plain_username, sasl_plain_password and sasl_mechanism"
    ),
    errors.AuthenticationMethodNotSupported: Meaning(
        "the broker does not support this authentication method", "set sasl_mechanism to one that the broker enables"
    ),
    errors.UnsupportedSaslMechanismError: Meaning(
        "the broker does not enable this SASL mechanism", "set sasl_mechanism to one that the broker enables"
    ),
    errors.IllegalSaslStateError: Meaning(
        "the listener of the broker does not use SASL, or requires SASL first",
        "set security_protocol to that of the listener",
    ),
    errors.SecurityDisabled: Meaning("the broker has no security features enabled", "enable them on the broker"),
    errors.TopicAuthorizationFailedError: Meaning(
        "this user is not authorized for the topic",
        "grant the ACL operation READ on topics that are read, and WRITE on topics that are written",
    ),
    errors.GroupAuthorizationFailedError: Meaning(
        "this user is not authorized for the consumer group", "grant the ACL operation READ on the group"
    ),
    errors.ClusterAuthorizationFailedError: Meaning(
        "this user is not authorized for the cluster",
        "to write, grant WRITE on a topic, or IDEMPOTENT_WRITE on the cluster; to create topics, grant CREATE",
    ),
    errors.TransactionalIdAuthorizationFailed: Meaning(
        "this user is not authorized for the transactional id",
        "grant the ACL operations DESCRIBE and WRITE on the transactional id",
    ),
    # Topics and partitions
    errors.UnknownTopicOrPartitionError: Meaning(
        "the topic or the partition does not exist", "create it, or check its name"
    ),
    errors.InvalidTopicError: Meaning(
        "this is not a valid topic name, or it is the name of an internal topic",
        "use at most 249 letters, digits, dots, dashes and underscores",
    ),
    errors.TopicAlreadyExistsError: Meaning("the topic exists already", "use it, or choose another name"),
    errors.InvalidPartitionsError: Meaning("the number of partitions is not allowed", "give another number"),
    errors.InvalidReplicationFactorError: Meaning(
        "the cluster has fewer brokers than replicas are asked for",
        "lower default.replication.factor of the broker, or add brokers",
    ),
    errors.InvalidConfigurationError: Meaning(
        "the broker refuses a value of the configuration", "correct the value that the message names"
    ),
    errors.PolicyViolationError: Meaning(
        "a policy of the cluster forbids this", "change the request, or ask the administrator of the cluster"
    ),
    errors.LeaderNotAvailableError: Meaning(
        "the partition has no leader at the moment",
        "wait; if this goes on, check that the brokers that hold its replicas run",
    ),
    errors.NotLeaderForPartitionError: Meaning("the partition has moved to another broker", _RETRY),
    errors.ReplicaNotAvailableError: Meaning("a replica of the partition is not available", _RETRY),
    errors.BrokerNotAvailableError: Meaning("a broker is not available", _RETRY),
    errors.ListenerNotFound: Meaning(
        "the leader of the partition has no listener with the name that this client uses",
        "give the listeners the same names on all brokers",
    ),
    errors.NotControllerError: Meaning("another broker is the controller now", _RETRY),
    errors.KafkaStorageError: Meaning("the broker cannot use its disk", "check the disk and the log of the broker"),
    errors.OffsetOutOfRangeError: Meaning(
        "the log does not hold this offset any more", "see --on-out-of-range, and retention.ms of the topic"
    ),
    errors.NoOffsetForPartitionError: Meaning(
        "the group has no committed offset for the partition", "choose where to begin with --start"
    ),
    errors.CorruptRecordException: Meaning(
        "records are damaged, or a record without a key was sent to a compacted topic",
        "give each record of a compacted topic a key; otherwise check the disks of the brokers",
    ),
    # Groups
    errors.InvalidGroupIdError: Meaning("the name of the group is empty or not allowed", "name another --group"),
    errors.InvalidSessionTimeoutError: Meaning(
        "the broker does not allow this session_timeout_ms",
        "use a value from group.min.session.timeout.ms to group.max.session.timeout.ms of the broker",
    ),
    errors.InconsistentGroupProtocolError: Meaning(
        "the group has members of another kind, such as another application",
        "stop them, or name another --group",
    ),
    errors.CommitFailedError: Meaning(
        "the group gave the partitions to another member before the commit",
        "nothing if it is rare; otherwise raise max_poll_interval_ms and session_timeout_ms",
    ),
    errors.IllegalGenerationError: Meaning(
        "the group was rebalanced in the meantime", "nothing: this worker joins again"
    ),
    errors.UnknownMemberIdError: Meaning(
        "the group removed this member because it sent no heartbeat for too long",
        "nothing if it is rare; otherwise raise session_timeout_ms",
    ),
    errors.RebalanceInProgressError: Meaning("the group is being rebalanced", "nothing: this worker joins again"),
    errors.MemberIdRequired: Meaning("the group must first give this member an id", _RETRY),
    errors.GroupLoadInProgressError: Meaning("the broker still loads the group", _RETRY),
    errors.GroupCoordinatorNotAvailableError: Meaning(
        "the group has no coordinator at the moment",
        "wait; if this goes on, check that the topic __consumer_offsets has leaders",
    ),
    errors.NotCoordinatorForGroupError: Meaning("another broker coordinates the group now", _RETRY),
    errors.OffsetMetadataTooLargeError: Meaning(
        "the metadata that is committed with an offset is too long", "raise offset.metadata.max.bytes of the broker"
    ),
    errors.NonEmptyGroup: Meaning("the group has members", "stop them first"),
    errors.GroupIdNotFound: Meaning("the group does not exist", "check the name of the group"),
    # Sending
    errors.MessageSizeTooLargeError: Meaning(
        "a record is larger than the client or the topic allows",
        "raise max_request_size here and max.message.bytes of the topic, or send smaller records",
    ),
    errors.RecordListTooLargeError: Meaning(
        "a batch of records is larger than a segment of the topic", "lower max_batch_size, or raise segment.bytes"
    ),
    errors.NotEnoughReplicasError: Meaning(
        "fewer replicas are in sync than min.insync.replicas requires",
        "check that the brokers run, or lower min.insync.replicas of the topic",
    ),
    errors.NotEnoughReplicasAfterAppendError: Meaning(
        "fewer replicas stored the records than min.insync.replicas requires",
        "check that the brokers run, or lower min.insync.replicas of the topic",
    ),
    errors.InvalidTimestampError: Meaning(
        "the timestamp of a record is out of the range that the topic allows",
        "see message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic",
    ),
    errors.UnsupportedForMessageFormatError: Meaning(
        "the topic has too old a message format", "raise message.format.version of the topic"
    ),
    errors.UnsupportedCodecError: Meaning(
        "the library for the compression of the records is not installed",
        "pip install 'aiokafka[lz4,snappy,zstd]'",
    ),
    errors.QuotaViolationError: Meaning("a quota of the cluster is exceeded", "raise the quota, or send less"),
    errors.ProducerFenced: Meaning("a newer producer took over", "stop one of the two"),
    errors.InvalidProducerEpoch: Meaning("a newer producer took over", "stop one of the two"),
    errors.UnknownProducerId: Meaning(
        "the broker no longer knows this producer, because retention removed its records", "start the worker again"
    ),
    errors.OutOfOrderSequenceNumber: Meaning(
        "the broker lost records that it had acknowledged",
        "start the worker again; check acks and unclean.leader.election.enable of the cluster",
    ),
    # The client itself
    errors.ProducerClosed: Meaning("the producer was stopped before the record was sent", "start the worker again"),
    errors.ConsumerStoppedError: Meaning("the consumer was stopped", "start the worker again"),
    errors.IllegalStateError: Meaning("the client was used in the wrong order", _REPORT),
    errors.IllegalArgumentError: Meaning("the client was used with a wrong argument", _REPORT),
    errors.IllegalOperation: Meaning("the client cannot do this as it is configured", _REPORT),
    errors.InvalidRequestError: Meaning("the broker could not read the request", _REPORT),
    errors.UnknownError: Meaning("the broker failed and gave no reason", "look at the broker's log"),
}
"""The errors that users are likely to meet; `docs/kafka-errors.md` shows them."""


def explain(error: BaseException) -> str:
    """An error of Kafka or of the connection in plain words, with what to change, its class and its own text.

    Raises nothing but `KeyboardInterrupt`.
    """
    if not _is_of_kafka(error):
        return reason(error)
    meaning = _meaning(type(error))
    return f"{meaning.what}; {meaning.advice} ({_named(error)})"


def reason(error: BaseException) -> str:
    """As `explain`, without what to change: for messages that say that themselves."""
    match error:
        case UnreachableBrokerError(args=(str(message),)):
            return message
        case socket.gaierror():
            return f"the name of the host cannot be resolved ({describe(error)})"
        case ConnectionRefusedError():
            return "the connection was refused: nothing listens at this address"
        case TimeoutError():
            return "there was no answer in time"
        case ssl.SSLError():
            return f"TLS failed ({describe(error)})"
        case _ if _is_of_kafka(error):
            return f"{_meaning(type(error)).what} ({_named(error)})"
    return describe(error)


def _is_of_kafka(error: BaseException) -> TypeGuard[Exception]:
    return isinstance(error, KafkaError | errors.ConsumerStoppedError | errors.IllegalOperation)


def _meaning(kind: type[Exception]) -> Meaning:
    """The nearest one in the table; of other errors of the broker, what aiokafka says of them."""
    for each in kind.__mro__:
        if each in MEANINGS:
            return MEANINGS[each]
        if each is BrokerResponseError:
            description = getattr(kind, "description", "").rstrip(".")
            return Meaning(f"the broker refused: {description or kind.__name__}", "look at the log of the broker")
    return Meaning("the Kafka client failed", "try again, with --debug for more")


def _named(error: BaseException) -> str:
    """The error's class, which can be searched for, and its own text where it has one."""
    name = type(error).__name__
    if not error.args:
        return name
    text = message_of(error)  # aiokafka puts the class in front of it
    return f"{name}: {' '.join((text.partition(f'{name}: ')[2] or text).split())}"


def not_authorized(
    operation: Operation, kind: Literal["topic", "group"], names: str | Iterable[str], *, also: Operation | None = None
) -> str:
    """The message for a missing ACL. `also`: what is needed besides, and includes the operation."""
    resource = f"{kind} {names if isinstance(names, str) else ', '.join(sorted(names))}"
    doing = "use" if kind == "group" else _DOING[operation]
    return (
        f"not authorized to {doing} {resource}; needs the ACL operation {also or operation} on {resource}, "
        "which kafka-acls --add grants"
    )


_DOING: Final[Mapping[Operation, str]] = {
    "READ": "read",
    "WRITE": "write to",
    "DESCRIBE": "describe",
    "CREATE": "create",
}
