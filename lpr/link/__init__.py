"""The way to the back-end: what is sent next, over which connection, and what comes back.

base.py                what the rest knows: Transport (Protocol), settings, LinkState
delivery.py            the delivery core: one pure state machine, time and answers in, actions out
backoff.py             how long to wait before the next attempt to connect
packing.py             an outbox entry -> a message that fits
socketio_transport.py  Transport over python-socketio
relay.py               Relay: outbox -> delivery -> transport, connected again for ever
commands.py            CommandInbox: what the back-end asks for, one at a time, always answered
files.py               the two small things that outlive a restart: epoch, seen command ids
"""
