//! A service that does not answer is never a pass without a word.
