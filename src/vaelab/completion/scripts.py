"""The script for each shell. It runs when TAB is pressed. Complete candidates end with a blank."""

# Readline splits words at `=` and `:`, so the part before the last of these is removed from the candidates.
BASH = r"""
_vaelab() {
    local line="${COMP_LINE:0:COMP_POINT}" IFS=$'\n'
    local word="${line##*[[:space:]]}"
    local cut="${word%"${word##*[=:]}"}"
    [[ $COMP_WORDBREAKS == *=* ]] || cut=
    COMPREPLY=($(command "${COMP_WORDS[0]/#\~/$HOME}" completion --line "$line" 2> /dev/null))
    COMPREPLY=("${COMPREPLY[@]#"$cut"}")
}
complete -o nospace -o default -F _vaelab vaelab
"""

ZSH = r"""
_vaelab() {
    local line="${(j: :)words[1,CURRENT-1]} $PREFIX"
    local -a found going done
    found=("${(@f)$(command ${words[1]/#\~/$HOME} completion --line "$line" 2> /dev/null)}")
    going=(${found:#* }) done=(${${(M)found:#* }% })
    if (( $#going + $#done )); then
        compadd -S '' -- $going
        compadd -- $done
    else
        compset -P '*='
        _files
    fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _vaelab vaelab
"""

FISH = r"""
function __vaelab_complete
    set -l token (commandline -ct)
    set -l found (command vaelab completion --line (commandline -cp) 2> /dev/null)
    if test (count $found) -gt 0
        string trim --right -- $found
    else if string match -q -- '*=*' $token
        set -l key (string replace -r '=.*' '=' -- $token)
        for path in (__fish_complete_path (string replace -r '^[^=]*=' '' -- $token))
            echo $key$path
        end
    else
        __fish_complete_path $token
    end
end
complete -c vaelab -f -a '(__vaelab_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
