"""From reads to passages: pure, time comes as an argument.

settings     one camera's rules
motion       where a plate will be, and how well a box fits
assignment   which read belongs to which track
vote         what the plate says, over all frames
direction    which way it went
track        one vehicle while it is in sight
repeat       the same plate again at the same gate
standing     text that belongs to the scene
tracker      `PassageTracker`: all of these, for one camera
"""
