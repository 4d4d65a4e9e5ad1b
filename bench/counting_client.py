"""The ceiling: a client on libmosquitto that subscribes at QoS 1 and does nothing but count.

Run as a process of its own: ``python -m bench.counting_client URL TOPIC N``. It says
``ready`` when subscribed and ``counted`` when N messages have come; the library
acknowledges each by itself. What Gridpulse reaches beside it is what durability costs.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from collections.abc import Iterator

from server.embedded.packages import cache_root, folder_in
from simulators.wire import BrokerAddress

OPTION_PROTOCOL_VERSION, OPTION_RECEIVE_MAXIMUM = 1, 4
MQTT_5 = 5
RECEIVE_MAX = 32_768
KEEP_ALIVE_S = 60

SUBSCRIBED = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)
CONNECTED = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
MESSAGE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


def candidates(environ: dict[str, str]) -> Iterator[str]:
    """Where the library may be: the machine's own, then that of the private programs folder."""
    found = ctypes.util.find_library("mosquitto")
    if found:
        yield found
    yield from map(str, folder_in(cache_root(environ)).glob("usr/lib/*/libmosquitto.so.1"))


def load_library(environ: dict[str, str]) -> ctypes.CDLL | str:
    """The library, or why there is none."""
    reasons = ["libmosquitto.so.1 is not here: install Debian's package libmosquitto1"]
    for path in candidates(environ):
        try:
            return ctypes.CDLL(path)
        except OSError as error:
            reasons.append(str(error))
    return reasons[-1]


def count(library: ctypes.CDLL, address: BrokerAddress, topic: str, wanted: int) -> None:
    """Connect, subscribe, count to ``wanted``, leave."""
    library.mosquitto_new.restype = ctypes.c_void_p
    library.mosquitto_lib_init()
    client = ctypes.c_void_p(library.mosquitto_new(b"bench-ceiling", True, None))
    left = wanted

    def on_connect(mosq: int, _: int, code: int) -> None:
        if code:
            raise SystemExit(f"the broker refuses the counting client: {code}")
        library.mosquitto_subscribe(ctypes.c_void_p(mosq), None, topic.encode(), 1)

    def on_subscribe(*_: object) -> None:
        print("ready", flush=True)

    def on_message(mosq: int, *_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            print("counted", flush=True)
            library.mosquitto_disconnect(ctypes.c_void_p(mosq))

    callbacks = CONNECTED(on_connect), SUBSCRIBED(on_subscribe), MESSAGE(on_message)
    library.mosquitto_connect_callback_set(client, callbacks[0])
    library.mosquitto_subscribe_callback_set(client, callbacks[1])
    library.mosquitto_message_callback_set(client, callbacks[2])
    library.mosquitto_int_option(client, OPTION_PROTOCOL_VERSION, MQTT_5)
    library.mosquitto_int_option(client, OPTION_RECEIVE_MAXIMUM, RECEIVE_MAX)
    if address.username is not None:
        library.mosquitto_username_pw_set(client, address.username.encode(), (address.password or "").encode())
    if library.mosquitto_connect(client, address.host.encode(), address.port, KEEP_ALIVE_S):
        raise SystemExit(f"no broker at {address}")
    library.mosquitto_loop_forever(client, -1, 1)


def main() -> None:
    """See the module."""
    import os

    url, topic, wanted = sys.argv[1:]
    library = load_library(dict(os.environ))
    if isinstance(library, str):
        raise SystemExit(library)
    count(library, BrokerAddress.parse(url), topic, int(wanted))


if __name__ == "__main__":
    main()
