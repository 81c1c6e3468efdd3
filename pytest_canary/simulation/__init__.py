"""Traffic by chance: what a service and a build that differs from it would count, in batches of rollouts.

Pure: a seed goes in, numbers come out; no clock and no I/O.  Begin with :func:`~.scene.scene_of`
(what is simulated) and :class:`~.draws.Draws` (a batch of rollouts of it).  numpy loads with
``draws``, ``layout``, ``spells`` and ``spread``, not with this package.
"""
