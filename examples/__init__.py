"""Short programs, each a topology or a script; the tests run and type-check every one."""
