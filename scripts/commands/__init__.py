"""Commands of `loopbench`, a module each: what it takes, and what it refuses at once.

Whatever loads torch is imported when there is work, so that help and a refusal do not wait for it.
"""
