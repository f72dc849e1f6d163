"""The supervisor: runs the services of the table in `services` as child processes, and keeps them running.

services       the table: what there is to run
commands       `up`, `serve`, `serve-mint`, …: what a person starts
core           the supervisor itself: start, reload, drain, end
child          the program of a child process
"""
