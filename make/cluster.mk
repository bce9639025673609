ONENODE := python3 tests/cluster/onenode.py

.PHONY: cluster-up
cluster-up: ## Bring a real one-node Kubernetes up (the first time builds it: about ten minutes); GPUS=8
	@$(ONENODE) up $(if $(GPUS),--gpus $(GPUS))

.PHONY: cluster-down
cluster-down: ## Take the one-node Kubernetes away, whatever state it is in
	@$(ONENODE) down

.PHONY: cluster-status
cluster-status: ## Say what of the one-node Kubernetes is running
	@$(ONENODE) status

.PHONY: cluster-build
cluster-build: ## Build the one-node Kubernetes' programs and nothing else
	@$(ONENODE) build

.PHONY: kubeconfig
kubeconfig: ## Print the exports to use the one-node Kubernetes: eval "$$(make -s kubeconfig)"
	@$(ONENODE) kubeconfig
