//! The terminal as the progress bar sees it: one line, which a resized terminal takes nothing from and leaves nothing of.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use console::{Term, truncate_str};
use indicatif::TermLike;

/// Draws the last line of a terminal.
///
/// A terminal that becomes narrower wraps the lines that it holds, and a program that does not know of it clears only the last row
/// of its own. Here the cursor always rests at the start of the line: there it stays, whether and how often the line is wrapped, so
/// that clearing from the cursor to the end of the screen removes all of it.
#[derive(Debug)]
pub struct BarTerminal {
    term: Term,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What is written of the next frame.
    line: String,
    /// Whether a line is on the screen.
    is_drawn: bool,
}

impl BarTerminal {
    /// Standard error.
    pub fn stderr() -> BarTerminal {
        BarTerminal { term: Term::stderr(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The bytes that replace the line on the screen, if any are needed: what others have written without a line end must not be
    /// cleared by a bar that is gone.
    fn frame(&mut self, width: u16) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let line = truncate_str(line.trim_end(), width.into(), "");
        if line.is_empty() && !self.is_drawn {
            return None;
        }
        self.is_drawn = !line.is_empty();
        // Without automatic margins nothing wraps, even if the terminal became narrower since its width was read.
        Some(format!("\x1b[?7l\r{line}\x1b[J\r\x1b[?7h"))
    }
}

impl TermLike for BarTerminal {
    /// One column stays free: behind the last one, terminals disagree on where the cursor is.
    fn width(&self) -> u16 {
        self.term.size().1.saturating_sub(1).max(1)
    }

    fn height(&self) -> u16 {
        self.term.size().0
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.state().line.push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.state().line.clear();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut state = self.state();
        state.frame(self.width()).map_or(Ok(()), |frame| self.term.write_str(&frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(state: &mut State, text: &str, width: u16) -> Option<String> {
        state.line.push_str(text);
        state.frame(width)
    }

    #[test]
    fn a_line_fits_and_leaves_the_cursor_at_its_start() {
        let mut state = State::default();
        let drawn = frame(&mut state, "███  40%  12 rows      ", 9);
        assert_eq!(drawn.as_deref(), Some("\x1b[?7l\r███  40% \x1b[J\r\x1b[?7h"));
        let wide = frame(&mut state, "画像画像", 5);
        assert_eq!(wide.as_deref(), Some("\x1b[?7l\r画像\x1b[J\r\x1b[?7h"));
    }

    #[test]
    fn only_a_bar_that_is_there_is_cleared() {
        let mut state = State::default();
        assert_eq!(frame(&mut state, "   ", 9), None);
        assert!(frame(&mut state, "bar", 9).is_some());
        assert_eq!(frame(&mut state, "", 9).as_deref(), Some("\x1b[?7l\r\x1b[J\r\x1b[?7h"));
        assert_eq!(frame(&mut state, "", 9), None);
    }
}
