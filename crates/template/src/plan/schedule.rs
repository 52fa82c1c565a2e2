//! Which nodes may run now: a state machine that a runner feeds with results.

use super::Node;

/// Progress through the nodes of a plan. A node is handed out once, when all it depends on has succeeded.
#[derive(Debug, Clone)]
pub struct Schedule {
    states: Vec<State>,
    waiting_for: Vec<usize>,
    followers: Vec<Vec<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Succeeded,
    Failed,
}

impl Schedule {
    pub(super) fn new(nodes: &[Node]) -> Self {
        let mut followers = vec![Vec::new(); nodes.len()];
        for (position, node) in nodes.iter().enumerate() {
            for before in &node.depends_on {
                if let Some(followers) = followers.get_mut(*before) {
                    followers.push(position);
                }
            }
        }
        let waiting_for = nodes.iter().map(|node| node.depends_on.len()).collect();
        Self { states: vec![State::Waiting; nodes.len()], waiting_for, followers }
    }

    /// Positions of all nodes that may run now and have not been handed out; they count as running from here on.
    pub fn take_ready(&mut self) -> Vec<usize> {
        let mut ready = Vec::new();
        for (position, (state, waiting_for)) in self.states.iter_mut().zip(&self.waiting_for).enumerate() {
            if *state == State::Waiting && *waiting_for == 0 {
                *state = State::Running;
                ready.push(position);
            }
        }
        ready
    }

    /// The node is deployed. Also for nodes that were done before a crash, without having been handed out.
    pub fn succeeded(&mut self, position: usize) {
        if let Some(state) = self.states.get_mut(position)
            && *state != State::Succeeded
        {
            *state = State::Succeeded;
            for follower in self.followers.get(position).into_iter().flatten() {
                if let Some(waiting_for) = self.waiting_for.get_mut(*follower) {
                    *waiting_for -= 1;
                }
            }
        }
    }

    /// The node could not be deployed; nothing that depends on it will run.
    pub fn failed(&mut self, position: usize) {
        if let Some(state) = self.states.get_mut(position) {
            *state = State::Failed;
        }
    }

    /// Whether nothing runs and nothing more can.
    pub fn is_finished(&self) -> bool {
        let idle = |(state, waiting_for): (&State, &usize)| match state {
            State::Running => false,
            State::Waiting => *waiting_for > 0,
            State::Succeeded | State::Failed => true,
        };
        self.states.iter().zip(&self.waiting_for).all(idle)
    }

    /// Whether every node succeeded.
    pub fn all_succeeded(&self) -> bool {
        self.states.iter().all(|state| *state == State::Succeeded)
    }

    /// Nodes that never ran because something they depend on failed.
    pub fn never_ran(&self) -> Vec<usize> {
        let waiting = self.states.iter().enumerate().filter(|(_, state)| **state == State::Waiting);
        waiting.map(|(position, _)| position).collect()
    }
}
