.PHONY: generate
generate: venv ## Write the CRD, the chart's copy of it and the references in docs from the models
	$(PY) -m tools.generate

.PHONY: verify-generated
verify-generated: venv ## Fail if a generated file is stale
	$(PY) -m tools.generate --check
