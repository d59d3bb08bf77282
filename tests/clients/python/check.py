#!/usr/bin/env python3
"""Lists the tunnels, then starts one and watches it until it is up: the API from Python, without generated code.

usage: check.py SOCKET NAME

What the messages look like comes from the daemon itself, through gRPC reflection. Prints one JSON object per step; ends with
status 1 when something is not as the API promises.
"""

import json
import sys

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

DEADLINE_S = 30

# For a Unix socket gRPC's C core would send the socket's path as the authority, which is not one; the daemon's HTTP/2 stack
# refuses it as the standard asks.
OPTIONS = [("grpc.default_authority", "localhost")]


class Service:
    """The methods of one service, made from its description."""

    def __init__(self, channel, pool, name):
        for method in pool.FindServiceByName(name).methods:
            make = channel.unary_stream if method.server_streaming else channel.unary_unary
            request = GetMessageClass(method.input_type)
            call = make(
                f"/{name}/{method.name}",
                request_serializer=request.SerializeToString,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
            setattr(self, method.name, self._with_fields(call, request))

    @staticmethod
    def _with_fields(call, request):
        return lambda **fields: call(request(**fields), timeout=DEADLINE_S)


def report(step, **facts):
    """One line for whoever runs this."""
    print(json.dumps({"step": step, **facts}), flush=True)


def require(condition, what):
    """Ends the program when a promise is broken."""
    if not condition:
        sys.exit(f"check.py: {what}")


def state_of(tunnel):
    """The name of a tunnel's state, such as `up`."""
    return tunnel.status.state.WhichOneof("state")


def watch_until_up(tunnels, name):
    """Starts the tunnel once the watch runs, so that no change is missed; answers the states that were seen."""
    states = []
    for update in tunnels.WatchTunnels(tunnels=[name]):
        event = update.WhichOneof("event")
        require(states or event == "snapshot", f"the watch begins with {event}, not with a snapshot")
        seen = list(update.snapshot.tunnels) if event == "snapshot" else [update.changed]
        states += [state_of(tunnel) for tunnel in seen if tunnel.spec.name == name]
        if event == "snapshot":
            result = tunnels.StartTunnels(tunnels=[name]).results[0]
            require(result.WhichOneof("outcome") == "tunnel", f"not started: {json_format.MessageToDict(result)}")
        if states[-1] == "up":
            return states
    sys.exit("check.py: the watch ended before the tunnel was up")


def main(socket, name):
    """Runs all steps."""
    with grpc.insecure_channel(f"unix:{socket}", options=OPTIONS) as channel:
        reflection = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(reflection)
        services = sorted(reflection.get_services())
        report("services", services=services)
        tunnels = Service(channel, pool, "stormtunnel.v1.TunnelService")
        daemon = Service(channel, pool, "stormtunnel.v1.DaemonService")

        info = daemon.GetInfo()
        report("daemon", version=info.version, pid=info.pid, api_level=info.api_level)

        listed = {tunnel.spec.name: state_of(tunnel) for tunnel in tunnels.ListTunnels().tunnels}
        report("list", tunnels=listed)
        require(name in listed, f"there is no tunnel {name}")

        try:
            tunnels.GetTunnel(tunnel="no-such-tunnel")
            sys.exit("check.py: a tunnel that does not exist was found")
        except grpc.RpcError as error:
            report("unknown", code=error.code().name, message=error.details())

        states = watch_until_up(tunnels, name)
        report("watch", states=states)

        tunnel = tunnels.GetTunnel(tunnel=name).tunnel
        report("up", listening=list(tunnel.status.listening), session=tunnel.status.session_id)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
