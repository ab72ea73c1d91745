//! Delivery receipts: the grammar that reads them and the text we write.
