# Completion of 'remanager' in fish, printed by 'remanager completion fish'.

@TABLES@

function __remanager_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l place remanager
    set -l start
    for word in $words[2..-1]
        if contains -- "$place $word" $__remanager_places
            set place "$place $word"
        end
    end
    set -l before $words[-1]
    if string match -q -- '--*=*' $current
        set before (string split -m 1 = -- $current)[1]
        set start "$before="
        set current (string split -m 1 = -- $current)[2]
    end
    set -l values (__remanager_values "$place $before")
    switch "$values"
        case @file
            string replace -r '^' "$start" -- (__fish_complete_path "$current")
        case @directory
            string replace -r '^' "$start" -- (__fish_complete_directories "$current")
        case @anything
        case ''
            if string match -q -- '-*' "$current"
                __remanager_options $place
            else
                set -l found (__remanager_words $place)
                string match -v -- "@file*" $found
                contains -- @file\t $found
                and __fish_complete_path "$current"
            end
        case '*'
            printf "$start%s\n" (string split ' ' -- $values)
    end
end

complete -c remanager -f -a '(__remanager_complete)'
