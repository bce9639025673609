# CONTEXT=<kubeconfig context> REGISTRY=<where it pulls from> runs the demo and the tests on another cluster.

.PHONY: cluster-for-use
cluster-for-use: venv
ifdef CONTEXT
	@$(MAKE) images-push
else
	@$(MAKE) cluster-up images images-load
endif

.PHONY: demo
demo: venv cluster-for-use ## From nothing to a committed table: cluster, images, operator, data, one query
	$(PY) -m tools.demo --scale $(or $(SCALE),1)

.PHONY: demo-down
demo-down: venv ## Remove all that `make demo` made
ifdef CONTEXT
	$(PY) -m tools.demo_down
else
	@$(MAKE) cluster-down
endif
