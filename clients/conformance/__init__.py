"""A mesh that misbehaves as meshes do, for one organ's program, and the judgement of what the program did."""
