"""Features and labels as heads see them: splits, selected outputs, class weights, features that stay on disk."""
