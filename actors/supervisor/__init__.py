"""
Supervision, decided in values: specs, exit reasons, rules, one supervisor, and the whole tree of them.

Everything in here is pure: no process, thread, clock, random number or file. Events and ``now`` go in, a new state and effects
come out; the shell performs the effects and feeds back what happened.

==============  ==============================================================================================
``_spec``       what users write: ``Supervisor``, ``child``, options, and every rule they must keep
``_exits``      why a process ended: ``ExitReason`` and the one table that classifies a death
``_policy``     the rules of supervision, one small function each
``_machine``    one supervisor: state, events, effects, ``step``, ``next_deadline``
``_tree``       the whole tree: paths and uids, escalation from node to node, nothing decided twice
==============  ==============================================================================================

Imports point upwards in that table, never down.
"""
