"""What Stoker serves over HTTP besides the models: the Prometheus API and its own control API."""
