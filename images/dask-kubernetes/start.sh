#!/bin/sh
# The operator as a child: process 1 of a container cannot be stopped with SIGSTOP from within, and tests stop it.
kopf run -m dask_kubernetes.operator.controller "$@" &
echo $! > /tmp/operator.pid
trap 'kill -TERM $!' TERM INT
wait $!  # ends when the trap has run
wait $!
