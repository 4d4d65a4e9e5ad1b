"""What the world does to server, database and broker, drawn from a seed; and the proof that nothing was lost.

``schedule`` draws, ``house`` is what is harmed, ``relay`` stands between server and
database, ``faults`` does the harm, ``field`` are the devices, ``proof`` judges. The
short form is ``tests/acceptance/test_chaos.py``, the long ones ``python -m tests.chaos``.
It lives with the tests: nothing of it belongs into a server's installation.
"""
