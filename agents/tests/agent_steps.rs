//! The agents over tools in memory: the whole story, the story with one cause less, broken tools, hostile texts, and a model.

mod support;

mod agent_steps {
    mod broken_tools;
    mod compliance;
    mod decisions;
    mod deeds;
    mod hostile;
    mod model;
    mod neighbours;
    mod security;
    mod story;
}
