"""From reads to passages: pure, time comes as an argument.

- settings: one camera's rules
- motion: where a plate will be, and how well a box fits
- assignment: the pairs with the largest sum
- association: which read belongs to which track
- vote: what the plate says, over all frames
- direction: which way it went
- grammar: the text of a vote within the formats of plates
- shape: what shape whole plates have before this camera
- sighting: one plate's vote, way and best picture
- track: one vehicle while it is in sight, and the doubt whether it is still the same
- trail: whether two tracks were pieces of one way
- repeat: the same plate again at the same gate
- standing: text that belongs to the scene
- unread: vehicles that could not be read, and wait for an explanation
- notes: what was held back, and why
- view: a track as the local page draws it
- tracker: `PassageTracker`, all of these for one camera
"""
