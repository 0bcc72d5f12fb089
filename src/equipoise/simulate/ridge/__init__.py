"""Which explanations agree with what was published: the ridge of cells that do not protect and cycles that
harm.

`published` reads the hazard ratios of a trial from its protocol, `courses` walks the same people in both
arms, `kernel` adds up their hazards under any setting of the dials, `expected` turns that into expected
hazard ratios without the play of chance, `surface` interpolates them, `likelihood` compares them with what
was published, `trials` simulates whole trials under each explanation, `lesson` says what they could have
told, `explaining` is all of it."""
