"""The only place that builds the parts and joins them.

service.py      `Agent`: builds every part in its order, runs them, closes them in reverse
settings.py     what the parts need of the configuration
readers.py      which device reads for which camera, and what does its work where it fails
reporter.py     the status, the queue's state, and what the link says, told without being asked
pipeline.py     one camera: frames -> reads -> passages -> recorded events
larger.py       the larger stream of a camera whose smaller one is analysed
losses.py       what is told of a camera's losses, however many streams it has
evidence.py     a decided passage -> the event that is stored, pictures compressed
publisher.py    passages and errors on their way into the outbox, and what became of them
board.py        what the agent knows of itself: the status event is made of it
page.py         the same for the local page
control.py      the back-end's commands carried out
memory.py       what the trackers must not forget over a restart
timekeeping.py  whether the clock is right
heap.py         freed frames go back to the system
bench/          what all of it costs
"""
