"""The way to the back-end: what is sent next, over which connection, and what comes back.

base.py                what the rest knows: Transport (Protocol), settings, LinkState
delivery.py            the delivery core: one pure state machine, time and answers in, actions (actions.py) out
pace.py line.py histories.py weeding.py mute.py window.py deferred.py listing.py   its parts: the backlog beside live
                       events; silence and uplink; retries and poison, and what passes meanwhile; types of event that
                       nobody answers; how many may be in flight; what is sent again in its time; what the outbox has
                       shown
backoff.py             how long to wait before the next attempt to connect
packing.py             an outbox entry -> a message that fits
socketio_transport.py  Transport over python-socketio; web_socket.py and packets.py for what is sent often
explain.py             why a connection could not be made, in words
names.py route.py      the back-end's name, looked up apart; what is remembered of the way there
relay.py               Relay: outbox -> delivery -> transport, connected again for ever
clearer.py             what the answers said, carried out in the outbox
ledger.py              the link in numbers and words; complaints.py: what is wrong with the back-end's answers;
                       outages.py: what the log says of its comings and goings
clocks.py              the back-end's clock, and the alarm that wakes the relay
commands.py            CommandInbox: what the back-end asks for, one at a time, always answered
files.py               the two small things that outlive a restart: epoch, seen command ids
"""
