IMAGES := python3 images/build.py

.PHONY: wheel
wheel: venv ## Build the project's wheel into dist/
	@$(IMAGES) wheel

.PHONY: images
images: venv ## Build the operator's, the runtime's and the S3 server's image; RELEASES="26.10" [CUDA=13] BASE=...
	@$(IMAGES) build

.PHONY: images-load
images-load: images ## Copy the images into the one-node Kubernetes
	@$(ONENODE) load $$($(IMAGES) names)

.PHONY: images-push
images-push: venv ## Build and push the images: REGISTRY=<host/folder> TAG=<tag> RELEASES=...
	@$(IMAGES) push
