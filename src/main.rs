fn main(){loopline::cli::main();}
