"""
Everything between a value and the bytes in a pipe: frames, codec, envelopes, failures, the crash-safe read buffer and the arenas.

Owns the wire format. Knows nothing of supervisors, systems or processes: it is usable alone, between any two processes that hold
the two ends of a pipe.
"""
