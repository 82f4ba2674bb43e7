"""
Supervision. What decides is pure: events and ``now`` go in, a new state and effects come out; no process, thread, clock, random
number or file. The shell performs the effects and feeds back what happened.

============  ==================================================================================================
``_exits``    why a process ended: ``ExitReason`` and the one table that classifies a death
``_policy``   the rules of supervision, one small function each; restart types, strategies, ``Backoff``
``_spec``     what users write: ``Supervisor``, ``child``, one set of options
``_check``    every rule a spec must keep, all broken ones at once
``_state``    the values of one supervisor: children, state, events, effects
``_machine``  one supervisor decides: ``step``, ``next_deadline``
``_events``   what the shell tells the tree, and what the tree tells the shell
``_nodes``    the supervisors of a tree by path, and how they are built
``_view``     what can be asked of a tree
``_tree``     the whole tree decides: ``step``, ``next_deadline``; re-exports events, building and looking
============  ==================================================================================================

These import upwards in that table, never down. The other modules here are the shell around them.
"""
