"""Walking the parkour course by an exported folder alone, in plain MuJoCo, with a camera and sensors of its own.

A proof that the folder says all that a robot needs. Nothing here imports torch or the training environment: world,
motors, camera, operator and judge are written anew, so that what both sides would get wrong in the same way shows.
Only the tiles are the benchmark's (terrain/), so that success can be compared with the evaluation's.
"""
