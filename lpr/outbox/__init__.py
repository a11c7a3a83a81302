"""The queue that survives: every event is here from the return of `record` until the back-end has said it holds it.

base.py                 what the rest knows: Outbox (Protocol), tickets, entries, dead letters
queue.py limits.py      the rules, pure; how much there may be, and what goes when there is more
shelf.py                what the rules ask of the place where rows lie (Protocol)
memory.py               the queue in memory, and its shelf
sqlite.py               the queue on disk: an async face over
writer.py jobs.py         the one thread that writes, and what it is asked to do
sqlite_shelf.py reading.py schema.py     the rows in SQLite: changed, looked at, and their tables
pictures.py records.py    the file beside the database: where an event with its pictures lies, and how
folding.py                SQLite's log, folded by a thread of its own
opening.py rescue.py files.py            all files opened, whatever state they are in
held.py unwritten.py fresh.py            what is known in memory: not taken by the disk, not yet written, soon sent
rows.py ids.py          an event as it is kept, and its name
troubles.py             the errors that the queue records about itself
tools.py                what `lpr-agent queue` does, also while the agent runs
bench.py                how fast recording is
"""
