"""The queue that survives: every event is here from the return of `record` until the back-end has said it holds it."""
