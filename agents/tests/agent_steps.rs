//! The agents over tools in memory: the whole story, the story with one cause less, broken tools, hostile texts, and a model.

mod support;

mod agent_steps {
    mod broken_tools;
    mod decisions;
    mod hostile;
    mod model;
    mod neighbours;
    mod story;
}
