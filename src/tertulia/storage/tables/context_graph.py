"""Context graphs and their versions."""

from tertulia.storage.tables.versioned import named_things, versions_of

context_graphs = named_things("context_graphs")

context_graph_versions = versions_of(context_graphs, "context_graph")
