"""What sources of counters share: which metric of a server is which number, and what a role has counted of it."""

from pytest_canary.adapters.profiles.counted import Bucketed, Counted, Named
from pytest_canary.adapters.profiles.matchers import Matchers
from pytest_canary.adapters.profiles.profile import BUILT_IN, INSTANCE, Profile, load
from pytest_canary.adapters.profiles.snapshot import Found, Number, Parts, Snapshot, Source, named, names_of, replica_of
from pytest_canary.adapters.profiles.suspects import Suspects, in_one_unit
from pytest_canary.adapters.profiles.tally import Tally

__all__ = [
    "BUILT_IN",
    "INSTANCE",
    "Bucketed",
    "Counted",
    "Found",
    "Matchers",
    "Named",
    "Number",
    "Parts",
    "Profile",
    "Snapshot",
    "Source",
    "Suspects",
    "Tally",
    "in_one_unit",
    "load",
    "named",
    "names_of",
    "replica_of",
]
