//! `[templates]`: how templates are mined from log lines, and what about them is worth a signal.

use model::Level;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::HumanDuration;

use super::counts::Spike;
use super::drain::Rules;

/// Log lines: how their templates are mined, and which of them make a signal of kind `log_pattern`. All spans are event time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TemplatesSettings {
    /// How much of a line, in percent of its words, must equal a template's for the line to be one of it. Lower makes fewer templates,
    /// which say less; higher makes more, up to one per line.
    #[schemars(range(min = 1, max = 100))]
    pub similarity: u32,
    /// First words by which lines are told apart before they are compared. More is quicker, and splits lines that differ there.
    #[schemars(range(max = 16))]
    pub prefix: u32,
    /// Different words that count as such at one place of the prefix; further ones are taken together.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_children: u32,
    /// Templates kept of one service. Beyond it those seen longest ago are forgotten; one that comes again is new.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_templates: u32,
    /// Services kept per partition. Beyond it those heard longest ago are forgotten with their templates.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_services: u32,
    /// Width of the windows in which lines are counted.
    pub window: HumanDuration,
    /// The least level at which a template that was never seen before makes a signal.
    #[schemars(with = "String", extend("enum" = ["trace", "debug", "info", "warn", "error", "fatal"]))]
    pub new_level: Level,
    /// Lines of one template within a window that are a spike, when they are also `spike_factor` times as many as usual.
    #[schemars(range(min = 2))]
    pub spike_min: u64,
    /// How many times the baseline (the moving average of the windows before, about the last eight) is a spike.
    #[schemars(range(min = 1))]
    pub spike_factor: u64,
    /// Windows for which a service must have been heard before anything of it is called a spike.
    pub spike_history: u32,
    /// How long a delivery is remembered, by the clock of its receipt: what is sent again within it is taken once.
    pub delivery_memory: HumanDuration,
}

impl Default for TemplatesSettings {
    fn default() -> Self {
        TemplatesSettings {
            similarity: 70,
            prefix: 2,
            max_children: 100,
            max_templates: 1_000,
            max_services: 10_000,
            window: HumanDuration::from_secs(60),
            new_level: Level::Error,
            spike_min: 20,
            spike_factor: 5,
            spike_history: 3,
            delivery_memory: HumanDuration::from_secs(600),
        }
    }
}

impl TemplatesSettings {
    pub(super) fn rules(&self) -> Rules {
        Rules {
            similarity: self.similarity,
            prefix: self.prefix as usize,
            children: self.max_children as usize,
        }
    }

    pub(super) fn spike(&self) -> Spike {
        Spike {
            least: self.spike_min,
            factor: self.spike_factor,
        }
    }
}
